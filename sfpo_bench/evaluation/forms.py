"""The formats of other projects that scores can be written in, and the settings they need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Form(StrEnum):
    """A format in which another project collects scores."""

    every_eval_ever = "every_eval_ever"
    eval_results = "eval_results"


class Relationship(StrEnum):
    """The relation of the evaluator to the model's makers."""

    first_party = "first_party"
    third_party = "third_party"
    collaborative = "collaborative"
    other = "other"


@dataclass(frozen=True, slots=True)
class EvaluatingOrganization:
    """The organization that evaluated, and its relation to the model's makers."""

    organization: str
    relationship: Relationship
