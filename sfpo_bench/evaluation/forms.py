"""The forms of others that scores can be written in, and what the user has to say for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Form(StrEnum):
    """A form in which scores are collected elsewhere."""

    every_eval_ever = "every_eval_ever"
    eval_results = "eval_results"


class Relationship(StrEnum):
    """How whoever evaluated stands to the model's makers."""

    first_party = "first_party"
    third_party = "third_party"
    collaborative = "collaborative"
    other = "other"


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Who evaluated."""

    organization: str
    relationship: Relationship
