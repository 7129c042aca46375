"""Text for tables on what a method costs beyond GRPO, and how well its formula is verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import RuleNeeds
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.settings.step_work import step_work

NOTHING = Facts.extra_memory
TRUST = {"V": "verified", "T": "stated by third parties", "?": "unverified"}


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """Passes and memory of a run's methods beyond GRPO's, as text.

    `trust` is the mark of its least certain part; see `Facts`.
    """

    passes: str
    memory: str
    trust: str


def facts_of(config: RunConfig) -> MethodFacts:
    """Return the facts of all methods in the `algorithm` settings of a run."""
    parts = list(_parts(config.algorithm))
    trust = {str(getattr(part, "trust", Facts.trust)) for part in parts}
    memory = dict.fromkeys(text for part in parts if (text := _memory(part)) != NOTHING)
    return MethodFacts(_passes(config), "; ".join(memory) or NOTHING, max(trust, key=list(TRUST).index))


def planned(method: object) -> tuple[str, str]:
    """Return passes and memory beyond GRPO's as derived from the resource plan; `none` if nothing is added.

    A class that states its costs itself overrides these.
    """
    needs, passes, memory = getattr(method, "needs", None), NOTHING, NOTHING
    if isinstance(needs, RuleNeeds):
        passes = str(needs.passes - 1) if needs.passes > 1 else passes
        memory = f"{needs.copies} x the trained weights" if needs.copies else memory
    if getattr(method, "uses_statistics", False):
        passes = "without a gradient: 1 at the start and 1 before each optimizer step"
    rounds = getattr(method, "most_rounds", 1)
    if rounds > 1:
        passes = f"rollouts: up to {rounds} times as many"
    names = getattr(method, "names", ())
    if names:
        passes = f"those of {', '.join(names)}: 1 without a gradient, 1 with one"
        memory = f"{len(names)} model{'s' * (len(names) > 1)} with an optimizer"
    if getattr(method, "moves", False) or getattr(method, "follower", None) is not None:
        memory = "1 x the weights"
    return passes, memory


def _passes(config: RunConfig) -> str:
    work = step_work(config)
    found = [str(work.passes - 1)] if work.passes > 1 else []
    found += [f"{count} without a gradient for {name}" for name, count in work.forwards.items()]
    found += [f"{count} of the {name}" for name, count in work.module_passes.items()]
    found += [f"rollouts: up to {work.rounds:g} times as many"] if work.rounds > 1 else []
    return "; ".join(found) or NOTHING


def _memory(part: object) -> str:
    said = str(getattr(part, "extra_memory", NOTHING))
    return planned(part)[1] if said == NOTHING else said


def _parts(method: object) -> Iterator[object]:
    """Yield the methods in a tree of settings, each before those nested in it."""
    if isinstance(method, Mapping):
        for inside in method.values():
            yield from _parts(inside)
    elif is_dataclass(method):
        yield method
        for entry in fields(method):
            yield from _parts(getattr(method, entry.name))
