"""The problems of a suite with their prompts, in a fixed order."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Problem, Prompt
from sfpo_bench.problems.canonical import problem_key
from sfpo_bench.problems.graded_by_card import require_readable_golds
from sfpo_bench.problems.overlap import without
from sfpo_bench.problems.part import part
from sfpo_bench.problems.sets import Card, DataSettings, PromptTemplate, Suite, load_problem_set, prompt_template


@dataclass(frozen=True, slots=True)
class PromptedProblem:
    """A problem with its prompt.

    `key` is a hash of the problem's text, `prompt_sha256` of the prompt before the model's chat template."""

    problem: Problem
    key: str
    prompt: Prompt
    prompt_sha256: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark of a suite. `verified`: its content matches its card. `of` is its total number of problems."""

    card: Card
    template: PromptTemplate
    prompted: tuple[PromptedProblem, ...]
    of: int
    verified: bool

    @property
    def name(self) -> str:
        return self.card.name


def prompted_benchmarks(
    chosen: Suite, data: DataSettings, prompt: str = "", problems: int = 0, first: int = 0
) -> tuple[Benchmark, ...]:
    """Return the benchmarks of a suite with their prompted problems.

    A subset of a benchmark's problems is a deterministic draw by text: smaller subsets are contained in larger ones,
    and the order of the source does not matter. `first` takes the first problems of the source instead. Raises
    `MissingDataError` and `ConfigError` like `load_problem_set`.
    """
    return tuple(
        _benchmark(
            entry.name, entry.leave_out, min(filter(None, (entry.problems, problems)), default=0), data, prompt, first
        )
        for entry in chosen.benchmarks
    )


def _benchmark(
    name: str, leave_out: Sequence[str], count: int, data: DataSettings, prompt: str, first: int
) -> Benchmark:
    found = load_problem_set(name, data)
    if not found.problems:
        raise ConfigError(f"{found.origin}: found no problem of {name}, expected at least one; bring the whole file")
    require_readable_golds(found)
    template = prompt_template(prompt or found.card.prompt)
    there = without(found.problems, leave_out)
    drawn = there[:first] if first else part(name, there, count)
    prompted = [PromptedProblem(p, problem_key(p.text), made := template.fill(p), prompt_sha256(made)) for p in drawn]
    twice = [key for key, count in Counter(one.key for one in prompted).items() if count > 1]
    if twice:
        ids = ", ".join(one.problem.id for one in prompted if one.key == twice[0])
        raise ConfigError(
            f"{found.origin}: {len(twice)} problems of {name} occur more than once ({ids}); expected every text "
            "once, for a problem that counts twice changes the score. Take the copies out"
        )
    return Benchmark(found.card, template, tuple(prompted), len(found.problems), found.verified)


def prompt_sha256(prompt: Prompt) -> str:
    """Return the hash of a prompt: of its text, or of the roles and contents of its chat turns."""
    content = prompt.content
    plain = content if isinstance(content, str) else [[turn.role, turn.content] for turn in content]
    return hashlib.sha256(json.dumps(plain, ensure_ascii=True).encode()).hexdigest()
