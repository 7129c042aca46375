"""A description of the study's design: its cells, its seeds and their power, dropped cells, and estimated time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sfpo_bench.reports.document import Block, bullets, heading, paragraph, table
from sfpo_bench.reports.reposition.cells import StudyCell, StudyMethod
from sfpo_bench.settings.reposition import ConditionSettings, RepositionSettings
from sfpo_bench.statistics.intervals import CONFIDENCE
from sfpo_bench.statistics.paired import paired_power, pairs_needed
from sfpo_bench.statistics.power import POWER

_PROMPTS_OF_TIMES = 32  # the number of prompts at which `step_seconds` and `pass_seconds` were measured


def design_blocks(
    settings: RepositionSettings,
    cells: Sequence[StudyCell],
    seeds: int,
    steps: int,
    prompts: Mapping[str, int],
    slots: int,
) -> list[Block]:
    """Return the cells by condition with their estimated time, the power of the seeds, and the dropped cells.

    `prompts` is the number of prompts per step of each condition. The time excludes tuning.
    """
    header = ("condition", "change", "K", "alpha", "rate / tuned", "other rules", "cells", "core-hours")
    rows = []
    for name, condition in settings.conditions.items():
        own = [cell for cell in cells if cell.condition == name]
        spent = sum(cell_seconds(settings, cell, steps, prompts[name]) for cell in own) * seeds / 3600
        rows.append([name, condition.note, *_listed(condition), str(len(own)), f"{spent:.1f}"])
    first = next(iter(prompts.values()))
    every = sum(cell_seconds(settings, cell, steps, prompts.get(cell.condition, first)) for cell in cells)
    hours = every * seeds / 3600
    tested = 2 * sum(cell.method is StudyMethod.sfpo for cell in cells)
    said = (
        f"{len(cells)} cells with {seeds} seeds each are {len(cells) * seeds} runs of {steps} steps. They take about "
        f"{hours:.1f} core-hours, or {hours / max(1, slots):.1f} hours on {slots} slots, without tuning."
    )
    found: list[Block] = [heading(2, "The design"), table(header, rows, left=6), paragraph(said)]
    found += [paragraph(power_text(settings, seeds, tested))]
    dropped = bullets(settings.dropped)
    return [*found, *([heading(2, "Dropped cells"), *dropped] if dropped else [])]


def power_text(settings: RepositionSettings, seeds: int, tested: int) -> str:
    """Return the number of seeds that the target difference needs, and the power of the study's seeds, as text."""
    if not settings.spread:
        return f"The spread over seeds is unknown (study.reposition.spread = 0). The study runs {seeds} seeds."
    alone = pairs_needed(settings.spread, settings.difference)
    strict = pairs_needed(settings.spread, settings.difference, 1 - (1 - CONFIDENCE) / max(1, tested))
    chance = paired_power(settings.spread, settings.difference, seeds)
    return (
        f"The target is a difference in area of {settings.difference:g}, with a standard deviation of "
        f"{settings.spread:g} over seeds. One interval detects it with {POWER:.0%} power from {_count(alone)} seeds. "
        f"At Holm's level for the smallest of {tested} p-values this takes {_count(strict)} seeds. With {seeds} seeds "
        f"the power of one interval is {chance:.0%}."
    )


def cell_seconds(settings: RepositionSettings, cell: StudyCell, steps: int, prompts: int) -> float:
    """Return the estimated core-seconds of one run of the cell."""
    passes = {StudyMethod.grpo: 1, StudyMethod.lookahead: 1, StudyMethod.gxpo: 3}.get(cell.method, cell.fast_passes + 1)
    step = settings.step_seconds + passes * settings.pass_seconds
    return steps * step * prompts / _PROMPTS_OF_TIMES


def _count(found: int | None) -> str:
    return "more than 1000" if found is None else str(found)


def _listed(condition: ConditionSettings) -> list[str]:
    numbers = (condition.fast_passes, condition.alphas, condition.rate_factors)
    words = [", ".join(f"{one:g}" for one in values) for values in numbers]
    return [*words, ", ".join(control.value for control in condition.controls)]
