"""Compute the results of the study from the areas of its runs: differences to both controls, and best rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from sfpo_bench.reports.reposition.cells import StudyCell, StudyMethod
from sfpo_bench.statistics import holm_adjusted
from sfpo_bench.statistics.paired import PairedDifference, paired_difference

# The area under the learning curve by cell and seed: the mean accuracy over the responses of the run.
Areas = Mapping[StudyCell, Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class ComparedCell:
    """A cell of SFPO compared with one of its two controls. `p_holm` is adjusted over all differences of the study."""

    cell: StudyCell
    control: StudyCell
    area: float
    control_area: float
    difference: PairedDifference
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class BestRate:
    """The area on the reporting seeds of a rule at the rate that was best on the choosing seeds.

    `difference` is to Repeat(K + 1) at its best rate, None for that rule itself. `at_end`: the rate is the lowest or
    highest of its range.
    """

    cell: StudyCell
    area: PairedDifference
    difference: PairedDifference | None
    at_end: bool


def compared(areas: Areas) -> list[ComparedCell]:
    """Return every cell of SFPO compared with both its controls over their common seeds, adjusted by Holm over all."""
    found = []
    for cell, own in areas.items():
        if cell.method is not StudyMethod.sfpo:
            continue
        for control in (cell.at_equal_rate, cell.at_equal_displacement):
            seeds = sorted(own.keys() & areas.get(control, {}).keys())
            if seeds:
                differences = [own[seed] - areas[control][seed] for seed in seeds]
                ours, theirs = (fmean(areas[one][seed] for seed in seeds) for one in (cell, control))
                found.append(ComparedCell(cell, control, ours, theirs, paired_difference(differences)))
    tested = [one for one in found if one.difference.p_value is not None]
    adjusted = dict(zip(map(id, tested), holm_adjusted([one.difference.p_value or 0.0 for one in tested]), strict=True))
    return [replace(one, p_holm=adjusted.get(id(one))) for one in found]


def choosing_seeds(seeds: Sequence[int]) -> list[int]:
    """Return the seeds that choose the best rates: the first half. The others report, so the choice adds no bias."""
    return sorted(seeds)[: len(seeds) // 2]


def best_rates(areas: Areas) -> list[BestRate]:
    """Return each rule at its best rate, for each condition and K; SFPO also at its best alpha."""
    seeds = sorted(set[int]().union(*(own.keys() for own in areas.values())))
    choose = choosing_seeds(seeds)
    report = [seed for seed in seeds if seed not in choose]
    groups: dict[tuple[str, int, StudyMethod], list[StudyCell]] = {}
    for cell in areas:
        groups.setdefault((cell.condition, cell.fast_passes, cell.method), []).append(cell)
    best = {
        group: _best(areas, cells, choose) for group, cells in groups.items() if group[2] is not StudyMethod.shortened
    }
    found = []
    for (condition, passes, method), cell in best.items():
        control = best.get((condition, passes, StudyMethod.repeat))
        own = [areas[cell][seed] for seed in report if seed in areas[cell]]
        if not own:
            continue
        difference = None
        if control is not None and method is not StudyMethod.repeat:
            pairs = [seed for seed in report if seed in areas[cell] and seed in areas[control]]
            difference = paired_difference([areas[cell][one] - areas[control][one] for one in pairs]) if pairs else None
        factors = {one.rate_factor for one in groups[condition, passes, method]}
        at_end = len(factors) > 1 and cell.rate_factor in (min(factors), max(factors))
        found.append(BestRate(cell, paired_difference(own), difference, at_end))
    return found


def _best(areas: Areas, cells: Sequence[StudyCell], seeds: Sequence[int]) -> StudyCell:
    """Return the cell with the largest mean over these seeds; the first of equal ones."""
    return max(cells, key=lambda cell: fmean([areas[cell][one] for one in seeds if one in areas[cell]] or [-1.0]))


def largest_spread(rows: Sequence[ComparedCell]) -> float | None:
    """Return the largest standard deviation over seeds of a difference, or None if no cell has two pairs."""
    return max((one.difference.spread for one in rows if one.difference.spread is not None), default=None)
