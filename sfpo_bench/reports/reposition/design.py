"""The design of the study in words: its cells, its seeds and what they can tell, what was dropped, its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sfpo_bench.reports.document import Block, bullets, heading, paragraph, table
from sfpo_bench.reports.reposition.cells import Cell, Method
from sfpo_bench.settings.reposition import ConditionSettings, RepositionSettings
from sfpo_bench.statistics.intervals import CONFIDENCE
from sfpo_bench.statistics.paired import paired_power, pairs_needed
from sfpo_bench.statistics.power import POWER

_PROMPTS_OF_TIMES = 32  # `step_seconds` and `pass_seconds` are of so many prompts


def design_blocks(
    settings: RepositionSettings, cells: Sequence[Cell], seeds: int, steps: int, prompts: Mapping[str, int], slots: int
) -> list[Block]:
    """Cells by condition with the estimated time of their runs, seeds, and what was dropped. `prompts` are those of a
    step of each condition. Tuning comes on top of the time."""
    header = ("condition", "what it changes", "K", "alpha", "rate / tuned", "further rules", "cells", "core-hours")
    rows = []
    for name, condition in settings.conditions.items():
        own = [cell for cell in cells if cell.condition == name]
        spent = sum(cell_seconds(settings, cell, steps, prompts[name]) for cell in own) * seeds / 3600
        rows.append([name, condition.note, *_listed(condition), str(len(own)), f"{spent:.1f}"])
    first = next(iter(prompts.values()))
    every = sum(cell_seconds(settings, cell, steps, prompts.get(cell.condition, first)) for cell in cells)
    hours = every * seeds / 3600
    tested = 2 * sum(cell.method is Method.sfpo for cell in cells)
    said = (
        f"{len(cells)} cells with {seeds} seeds each, {len(cells) * seeds} runs of {steps} steps: about {hours:.1f} "
        f"core-hours, {hours / max(1, slots):.1f} hours on {slots} slots, without tuning."
    )
    found: list[Block] = [heading(2, "The design"), table(header, rows, left=6), paragraph(said)]
    found += [paragraph(power_text(settings, seeds, tested))]
    dropped = bullets(settings.dropped)
    return [*found, *([heading(2, "What was dropped, and why"), *dropped] if dropped else [])]


def power_text(settings: RepositionSettings, seeds: int, tested: int) -> str:
    """How many seeds the wanted difference takes, and what those of the study find it with."""
    if not settings.spread:
        return f"The spread over seeds is not known (study.reposition.spread = 0); {seeds} seeds are run."
    alone = pairs_needed(settings.spread, settings.difference)
    strict = pairs_needed(settings.spread, settings.difference, 1 - (1 - CONFIDENCE) / max(1, tested))
    chance = paired_power(settings.spread, settings.difference, seeds)
    return (
        f"A difference of {settings.difference:g} of area, with a standard deviation of {settings.spread:g} over "
        f"seeds, takes {_count(alone)} seeds to be found with {POWER:.0%} power by one interval, and {_count(strict)} "
        f"at the level of the smallest p-value of {tested} by Holm. {seeds} seeds find it with {chance:.0%} by one."
    )


def cell_seconds(settings: RepositionSettings, cell: Cell, steps: int, prompts: int) -> float:
    """Estimated core-seconds of one run of the cell."""
    passes = {Method.grpo: 1, Method.lookahead: 1, Method.gxpo: 3}.get(cell.method, cell.fast_passes + 1)
    step = settings.step_seconds + passes * settings.pass_seconds
    return steps * step * prompts / _PROMPTS_OF_TIMES


def _count(found: int | None) -> str:
    return "more than 1000" if found is None else str(found)


def _listed(condition: ConditionSettings) -> list[str]:
    numbers = (condition.fast_passes, condition.alphas, condition.rate_factors)
    words = [", ".join(f"{one:g}" for one in values) for values in numbers]
    return [*words, ", ".join(control.value for control in condition.controls)]
