"""The report of a league as blocks, and its numbers as frames for CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.document import Block, Picture, Table, bullets, heading, paragraphs, table
from sfpo_bench.reports.formats import accuracy_text, ratio_text, reason_marks, reasons_text, target_text
from sfpo_bench.reports.league.standings import COUNTED, SAME_WITHIN, League, LeagueRow
from sfpo_bench.reports.method_facts import TRUST
from sfpo_bench.reports.summary import Accuracy, RatioRow
from sfpo_bench.reports.tables import kind_text
from sfpo_bench.statistics import CONFIDENCE, FEWEST_SEEDS
from sfpo_bench.statistics.tie_groups import DifferenceOfArms, Pair, group_letter

SHOWN = (CostAxis.responses, CostAxis.optimizer_steps, CostAxis.tokens)
FIGURE_WORDS = (
    "Cost ratio to the baseline in responses and in optimizer steps: for each method a point with its intervals"
)
_TOLD = 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class PageText:
    """The text of a league's page beside its numbers: methods left out with reasons, and the number of reused runs."""

    title: str
    description: str
    left_out: Mapping[str, str]
    reused: int
    notes: Sequence[str] = ()


def league_blocks(league: League, page_text: PageText, figure: str) -> list[Block]:
    """Return the report: how to read it, the table, tie groups, differences to the baseline. `figure` is a path."""
    marks = _marks(league)
    found: list[Block] = [heading(1, page_text.title), *paragraphs([page_text.description])]
    found += bullets([*page_text.notes, *_how_to_read(league)])
    found += [heading(2, "Methods"), _main_table(league, marks), *paragraphs([reasons_text(marks)])]
    found += bullets(_same_lines(league))
    found += [Picture(FIGURE_WORDS, figure), heading(2, "Tie groups"), _groups_table(league)]
    found += [heading(2, f"Final accuracy against {league.row(league.baseline).label}"), _differences_table(league)]
    if page_text.left_out:
        found += [heading(2, "Left out"), *bullets(f"{name}: {why}" for name, why in page_text.left_out.items())]
    return [*found, heading(2, "Other files"), *bullets(_places(page_text))]


def league_frame(league: League) -> pd.DataFrame:
    """Return one row per method: every number of the page, and the ratios at every target on every counted axis."""
    return pd.DataFrame([_csv_row(league, row) for row in league.rows])


def pairs_frame(league: League) -> pd.DataFrame:
    """Return one row for every pair of arms that was tested."""
    rows = [
        {
            "first": one.first, "second": one.second, "seeds": one.n, "difference": one.point, "low": one.low,
            "high": one.high, "p": one.p_value, "p_holm": one.adjusted_p, "told_apart": one.separated,
            "would_detect": one.detectable,
        }
        for one in league.pairs
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=None if rows else ["first", "second"])


def _how_to_read(league: League) -> list[str]:
    target = target_text(league.targets[0])
    arms, pairs = len(league.compared), len(league.pairs)
    lines = [
        f"Each method has {league.seeds} seeds. Its learning rate was tuned on other seeds and other problems. Final "
        f"accuracy is over {league.responses:,} responses per seed. Intervals are 95 %.",
        f"A ratio is the cost of {league.row(league.baseline).label} to reach {target} divided by that of the method: "
        f"above 1 the method is cheaper. A star marks p at most 0.05, adjusted by Holm over all {_family(league)} "
        "ratios of league.csv.",
        "There are no ranks. Methods that share a letter were not told apart. Every pair is tested by a paired t test "
        f"of final accuracy by seed, and the p-values of all {pairs} pairs of {arms} methods are adjusted by Holm. "
        "Groups are the longest sequences of neighbours by mean accuracy without a pair that was told apart.",
        "Extra passes and memory are those beyond one pass over each batch, according to the settings. Trust says how "
        "well the formula is verified.",
    ]
    ungrouped = _ungrouped(league)
    if ungrouped:
        lines.append(
            f"Of the pairs that share no letter, {ungrouped} were not told apart either: see league_pairs.csv."
        )
    if league.seeds < FEWEST_SEEDS:
        lines.append(f"With fewer than {FEWEST_SEEDS} seeds no pair can be told apart.")
    return lines


def _ungrouped(league: League) -> int:
    """Return the number of pairs that were not told apart and share no group."""
    together = {Pair(pair) for group in league.groups for pair in combinations(group, 2)}
    return sum(not one.separated and Pair((one.first, one.second)) not in together for one in league.pairs)


def _family(league: League) -> int:
    return max((row.family for one in league.rows for row in one.ratios), default=0)


def _main_table(league: League, marks: Mapping[str, str]) -> Table:
    header = (
        "method", "tie group", *(f"ratio in {axis.noun}" for axis in SHOWN), "final accuracy", "n", "learning rate",
        "extra passes", "extra memory", "trust",
    )  # fmt: skip
    rows = [
        (
            row.label,
            row.group,
            *(_ratio_cell(league, row, axis, marks) for axis in SHOWN),
            _accuracy_text(row.final),
            "" if row.final is None else str(row.final.seeds),
            "" if row.rate is None else f"{row.rate:.4g}",
            row.facts.passes,
            row.facts.memory,
            TRUST[row.facts.trust],
        )
        for row in league.rows
    ]
    last = len(header)
    return table(header, rows, left=(0, 1, last - 3, last - 2, last - 1), arms=[row.arm for row in league.rows])


def _ratio_cell(league: League, row: LeagueRow, axis: CostAxis, marks: Mapping[str, str]) -> str:
    if row.arm == league.baseline:
        return "baseline"
    if row.same is not None:
        return f"as {league.row(row.same.arm).label}"
    found = row.ratio(league.targets[0], axis)
    return "" if found is None else _ratio_text(found, marks)


def _ratio_text(row: RatioRow, marks: Mapping[str, str]) -> str:
    numbers = [None if value is None else ratio_text(value) for value in (row.point, row.low, row.high)]
    star = " *" if row.adjusted_p is not None and row.adjusted_p <= _TOLD else ""
    return kind_text(row, numbers, CONFIDENCE, marks) + star


def _marks(league: League) -> dict[str, str]:
    """Return a letter in brackets for each reason why a ratio has no interval."""
    shown = [row for one in league.rows for row in one.ratios if row.target == league.targets[0]]
    return reason_marks(row.reason for row in shown if CostAxis(row.axis) in SHOWN)


def _accuracy_text(score: Accuracy | None) -> str:
    if score is None:
        return "none"
    return f"{accuracy_text(score.mean)} ({accuracy_text(score.low)} to {accuracy_text(score.high)})"


def _same_lines(league: League) -> list[str]:
    """Return a sentence for each method that is the same as another on this task, with the evidence."""
    found = []
    for row in league.rows:
        if row.same is None:
            continue
        how = "for every seed the final weights have the same bits" if row.same.bits else _within(row.same.apart)
        found.append(
            f"{row.label} is the same as {league.row(row.same.arm).label} on this task: {how}. It is not tested."
        )
    return found


def _within(apart: float) -> str:
    return (
        f"at the same learning rate no evaluation of any seed differs by more than {100 * apart:.2f} % of its "
        f"responses (the limit is {100 * SAME_WITHIN:g} %)"
    )


def _groups_table(league: League) -> Table:
    """Return each group with its largest difference, and the minimum detectable effect of its pairs."""
    rows = []
    for number, arms in enumerate(league.groups):
        inside = [one for one in league.pairs if one.first in arms and one.second in arms]
        known = [one.detectable for one in inside if one.detectable is not None]
        gap = _points(max((abs(one.point) for one in inside), default=None))
        would = "" if not known else _points(min(known)) + ("" if len(known) == 1 else f" to {_points(max(known))}")
        rows.append((group_letter(number), ", ".join(league.row(arm).label for arm in arms), gap, would))
    header = ("group", "methods not told apart", "largest difference, points", "would detect in a pair, points")
    return table(header, rows, left=2)


def _differences_table(league: League) -> Table:
    rows = [
        (
            row.label,
            _difference_text(row.difference),
            _p_text(row.difference.p_value),
            _p_text(row.difference.adjusted_p),
            _points(row.difference.detectable),
            "yes" if row.difference.separated else "no",
        )
        for row in league.compared
        if row.difference is not None
    ]
    header = ("method", "difference, points", "p", "p by Holm", "would detect, points", "told apart")
    return table(header, rows, left=1)


def _difference_text(one: DifferenceOfArms) -> str:
    text = f"{100 * one.point:+.1f}"
    return text if one.low is None or one.high is None else f"{text} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def _points(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _p_text(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _places(page_text: PageText) -> list[str]:
    lines = [
        "league.csv: every number of the table, with the ratios at every target on every counted axis",
        "league_pairs.csv: every pair that was tested, with its minimum detectable effect",
        "tuning.md and sweeps/: the learning rates, and every trial of their search",
        "comparison/report.html: curves, and ratios of time, which depend on the machine and its load",
    ]
    if page_text.reused:
        lines.append(
            f"{page_text.reused} runs were not trained here but reused from other folders: taken_from.json in the "
            "folder of each names its source"
        )
    return lines


def _csv_row(league: League, row: LeagueRow) -> dict[str, object]:
    score, difference = row.final, row.difference
    found: dict[str, object] = {
        "arm": row.arm, "label": row.label, "learning_rate": row.rate, "tie_group": row.group,
        "same_as": "" if row.same is None else row.same.arm, "same_bits": row.same is not None and row.same.bits,
        "seeds": 0 if score is None else score.seeds, "final": None if score is None else score.mean,
        "final_low": None if score is None else score.low, "final_high": None if score is None else score.high,
        "difference": None if difference is None else difference.point,
        "p": None if difference is None else difference.p_value,
        "p_holm": None if difference is None else difference.adjusted_p,
        "would_detect": None if difference is None else difference.detectable,
        "extra_passes": row.facts.passes, "extra_memory": row.facts.memory, "trust": TRUST[row.facts.trust],
    }  # fmt: skip
    for target in league.targets:
        for axis in COUNTED:
            name, ratio = f"{axis.value}_to_{target_text(target)}", row.ratio(target, axis)
            found |= {
                f"{name}_claim": "" if ratio is None else ratio.claim.value,
                f"{name}_ratio": None if ratio is None else ratio.point,
                f"{name}_low": None if ratio is None else ratio.low,
                f"{name}_high": None if ratio is None else ratio.high,
                f"{name}_p_holm": None if ratio is None else ratio.adjusted_p,
            }
    return found
