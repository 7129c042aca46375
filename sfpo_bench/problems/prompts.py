"""Named prompt templates, one YAML file each in `evaluations/prompts`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from omegaconf import MISSING

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Message, Problem, Prompt
from sfpo_bench.problems.card import named_file, read_entry

_PLACE = "{problem}"


@dataclass
class PromptTemplate:
    """A template with `{problem}` in its `text`; `chat` makes it a user message, else it is text to continue."""

    name: str = MISSING
    text: str = MISSING
    chat: bool = True
    notes: str = ""

    def fill(self, problem: Problem) -> Prompt:
        """The prompt for `problem`."""
        text = self.text.replace(_PLACE, problem.text)
        return Prompt(problem.id, (Message("user", text),) if self.chat else text)

    @property
    def sha256(self) -> str:
        """The sha256 of the template, without name and notes."""
        return hashlib.sha256(f"{self.chat}\x1f{self.text}".encode()).hexdigest()


@cache
def prompt_template(name: str) -> PromptTemplate:
    """The template of that name; raises `ConfigError` for an unknown name and for a template without `{problem}`."""
    found = read_entry(named_file(("prompts",), name, "a prompt template"), PromptTemplate)
    if _PLACE not in found.text:
        raise ConfigError(f"the prompt template {name} has no {_PLACE}, so every prompt would be the same; add it")
    return found
