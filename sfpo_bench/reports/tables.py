"""A summary as data frames for CSV files, and the report as blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sfpo_bench.core.costs import MAIN_AXES, CostAxis
from sfpo_bench.reports.answer import answers, unanswered
from sfpo_bench.reports.axes import TABLE_ORDER, known_axes
from sfpo_bench.reports.break_even_text import break_even_blocks
from sfpo_bench.reports.document import (
    Block,
    Picture,
    Table,
    bold,
    bullets,
    heading,
    joined,
    line,
    paragraph,
    paragraphs,
    table,
)
from sfpo_bench.reports.formats import (
    accuracy_text,
    cost_text,
    limit_level_text,
    range_text,
    ratio_text,
    reason_marks,
    reasons_text,
    target_text,
)
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.notes import (
    clock_warning,
    crossing_shares,
    few_problems_warning,
    figure_caption,
    holm_lines,
    is_complete,
    measure_text,
    method_lines,
    origin_lines,
    trigger_text,
    unfinished_lines,
)
from sfpo_bench.reports.one_run import one_run_interval
from sfpo_bench.reports.pair_table import pair_blocks
from sfpo_bench.reports.summary import (
    Accuracy,
    ArmSummary,
    CostRow,
    IntervalKind,
    RatioRow,
    Summary,
    TargetBlock,
)
from sfpo_bench.results.names import BREAK_EVEN_FIGURE, FIGURE
from sfpo_bench.statistics import Claim

COST_COLUMNS = (
    "block", "target", "axis", "arm", "label", "reached", "seeds",
    "cost_claim", "cost", "cost_low", "cost_high", "cost_reason", "crossing_share",
    "ratio_claim", "ratio", "ratio_low", "ratio_high", "ratio_reason", "baseline_reached", "baseline_seeds",
    "detectable_ratio", "p_value", "holm_adjusted_p", "verdict", "cost_text", "ratio_text",
)  # fmt: skip
FINAL_COLUMNS = ("arm", "label", "mode", "accuracy", "low", "high", "interval", "seeds", "responses", "problems")


def costs_table(summary: Summary) -> pd.DataFrame:
    """Return every cost and its ratio to the baseline, one row per block, target, axis and arm: `COST_COLUMNS`.

    Rows of the baseline have no ratio. `crossing_share`, on responses, estimates how early these first crossings come,
    as a share of the cost at which curves without noise would cross; costs are not corrected by it.
    """
    blocks, shares = [("absolute", summary.absolute), ("paper", summary.paper)], crossing_shares(summary)
    rows = [_csv_row(summary, name, block, cost, shares) for name, block in blocks if block for cost in block.costs]
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


def final_table(summary: Summary) -> pd.DataFrame:
    """Return final accuracies over finished runs, one row per arm and mode: columns `FINAL_COLUMNS`."""
    rows = [
        (arm.name, arm.label, mode, score.mean, score.low, score.high, score.interval.value, score.seeds,
         " ".join(str(n) for n in score.responses), " ".join(str(n) for n in score.problems))
        for arm in summary.arms
        for mode, score in ((summary.mode, arm.final), ("greedy", arm.final_greedy))
        if score is not None
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(FINAL_COLUMNS))


def report_markdown(summary: Summary, figure: str = FIGURE) -> str:
    """Return `report_blocks` as Markdown."""
    return markdown(report_blocks(summary, figure))


def report_blocks(summary: Summary, figure: str = FIGURE) -> list[Block]:
    """Return the report: conclusions, the figure (its path as given), the tables, and notes on reading them."""
    return [
        heading(1, summary.name),
        *paragraphs([summary.experiment]),
        *_progress(summary),
        *_answer(summary),
        *paragraphs(bold(origin) for origin in origin_lines(summary)),
        Picture("Accuracy against responses and training time", figure),
        *paragraphs([figure_caption(summary)]),
        heading(2, "Final accuracy"),
        *_final_section(summary),
        heading(2, "Cost to the targets fixed before the run"),
        *_cost_sections(summary),
        *_paper_section(summary),
        *break_even_blocks(summary, BREAK_EVEN_FIGURE),
        *pair_blocks(summary),
        heading(2, "Arms"),
        _arms_table(summary),
        heading(2, "Notes"),
        *bullets([summary.axes_note, *method_lines(summary)]),
    ]


def _csv_row(
    summary: Summary, name: str, block: TargetBlock, cost: CostRow, shares: Mapping[tuple[str, float], float]
) -> tuple[object, ...]:
    label = summary.arm(cost.arm).label
    left = (name, cost.target, cost.axis, cost.arm, label, cost.reached, cost.seeds)
    share = shares.get((cost.arm, cost.target)) if cost.axis == CostAxis.responses else None
    middle = (cost.claim.value, cost.point, cost.low, cost.high, cost.reason, share)
    [axis] = known_axes([cost.axis])
    said = cost_cell(cost, axis, summary.confidence, _own_mark(cost))
    if cost.arm == summary.baseline:
        return (*left, *middle, "baseline", None, None, None, "", None, None, None, None, None, "", said, "baseline")
    ratio = block.ratio(cost.arm, cost.target, cost.axis)
    right = (ratio.claim.value, ratio.point, ratio.low, ratio.high, ratio.reason)
    judged = "" if ratio.verdict is None else ratio.verdict.value
    power = (ratio.detectable, ratio.p_value, ratio.adjusted_p, judged)
    texts = (said, ratio_cell(ratio, summary.confidence, _own_mark(ratio)))
    return (*left, *middle, *right, ratio.baseline_reached, ratio.baseline_seeds, *power, *texts)


def _own_mark(row: CostRow | RatioRow) -> dict[str, str]:
    """Return marks that put the reason into the cell, since a CSV table has no footnotes."""
    return {row.reason: f"({row.reason})"}


def _progress(summary: Summary) -> list[Block]:
    """Return finished and planned runs, then warnings about the numbers."""
    counts = (line(arm.span(), f" {arm.seeds_finished} of {arm.seeds_planned}") for arm in summary.arms)
    found: list[Block] = [paragraph("Runs finished: ", joined("; ", counts), ".")]
    if not is_complete(summary):
        unfinished = " Runs that have not finished count as far as they came in costs, not in means:"
        found.append(paragraph(bold("Not complete."), unfinished))
    warnings = (clock_warning(summary), few_problems_warning(summary))
    said = [paragraph(bold("Warning:"), f" {warning}.") for warning in warnings if warning]
    return [*found, *bullets(unfinished_lines(summary)), *said]


def _answer(summary: Summary) -> list[Block]:
    title = heading(2, "Answer")
    if not summary.targets:
        return [title, paragraph("No target was fixed before the run, so no cost to a target is compared.")]
    if not summary.rivals():
        return [title, paragraph("There is only the baseline, so nothing is compared.")]
    found = [title, *paragraphs([*holm_lines(summary), *unanswered(summary)])]
    for target in summary.targets:
        lines = [joined(" ", said) for said in answers(summary, target) if said]
        if lines:
            found += [heading(3, f"To {target_text(target)}, {measure_text(summary)}"), *bullets(lines)]
    return found


def _final_section(summary: Summary) -> list[Block]:
    if summary.runs_stopped:
        stopped = f"{summary.runs_stopped} runs ended at their target, after unlike budgets"
        return [paragraph(f"Not compared: {stopped}; their costs are below.")]
    return [_final_table(summary)]


def _final_table(summary: Summary) -> Table:
    rows, axes = [], known_axes(summary.axes, MAIN_AXES)
    for arm in summary.arms:
        scores = [_accuracy_cell(score) for score in (arm.final, arm.final_greedy)]
        finals = [curve.points[-1] for curve in arm.counted()] if arm.final else []
        spent = [_spent(axis, [point.cost(axis.value) for point in finals]) for axis in axes]
        rows.append((arm.label, f"{arm.seeds_finished} of {arm.seeds_planned}", *scores, *spent))
    columns = ["responses spent" if axis is CostAxis.responses else axis.label for axis in axes]
    header = ("arm", "seeds", f"{summary.mode} accuracy", "greedy accuracy", *columns)
    return table(header, rows, left=1, arms=[arm.name for arm in summary.arms])


def _spent(axis: CostAxis, costs: Sequence[float]) -> str:
    return cost_text(axis, sum(costs) / len(costs)) if costs else "none"


def _accuracy_cell(score: Accuracy | None) -> str:
    if score is None:
        return "none"
    if score.interval is IntervalKind.none:
        return f"{accuracy_text(score.mean)} (no interval: one seed, n not known)"
    interval = f"{accuracy_text(score.low)} to {accuracy_text(score.high)}"
    n = "/".join(f"{count:,}" if count else "not known" for count in score.responses)
    kind = "" if score.interval is IntervalKind.seeds else "; Wilson, one seed"
    return f"{accuracy_text(score.mean)} ({interval}{kind}; n = {n}{_over_problems(score)})"


def _over_problems(score: Accuracy) -> str:
    """Return ` to 6 problems`, and for an interval over seeds also the interval over these problems.

    Empty if each response is to a different problem, or if their number is unknown."""
    known = [count for count in score.problems if count]
    if not known or min(known) >= max(score.responses):
        return ""
    text = f" to {range_text(min(known), max(known))} problems"
    if score.interval is not IntervalKind.seeds:
        return text
    over, _ = one_run_interval(score.mean, max(score.responses), min(known))
    return f"{text}, over which it is {accuracy_text(over.low)} to {accuracy_text(over.high)}"


def _cost_sections(summary: Summary) -> list[Block]:
    if not summary.targets:
        return [paragraph("None was fixed.")]
    found: list[Block] = []
    marks = _marks(summary.absolute)
    arms = [arm.name for _ in summary.targets for arm in summary.arms]
    for axis in known_axes(summary.axes, TABLE_ORDER):
        header = ("target", "arm", f"{axis.label}: geometric mean", "reached", "ratio to baseline", "would detect")
        rows = [
            (target_text(target), *_cost_cells(summary, summary.absolute, arm, target, axis, marks))
            for target in summary.targets
            for arm in summary.arms
        ]
        found += [heading(3, axis.words.capitalize()), table(header, rows, left=2, arms=arms)]
    return [*found, *paragraphs([reasons_text(marks)])]


def _paper_section(summary: Summary) -> list[Block]:
    """Return the section on the target that depends on the result, with a warning."""
    title, block = heading(2, "Cost to the baseline's best accuracy (the SFPO paper's target)"), summary.paper
    if block is None:
        known = "Runs ended at their target, so that the baseline's best accuracy is not known."
        return [title, paragraph(known if summary.runs_stopped else "The baseline has no evaluated run.")]
    target, marks = block.targets[0], _marks(block)
    header = ("axis", "arm", "geometric mean", "reached", "ratio to baseline", "would detect")
    shown = [(axis, arm) for axis in known_axes(summary.axes, TABLE_ORDER) for arm in summary.arms]
    rows = [(axis.label, *_cost_cells(summary, block, arm, target, axis, marks)) for axis, arm in shown]
    warning = paragraph(bold("Read with care."), f" The target {target_text(target)} is {block.note}.")
    costs = table(header, rows, left=2, arms=[arm.name for _, arm in shown])
    return [title, warning, costs, *paragraphs([reasons_text(marks)])]


def _marks(block: TargetBlock) -> dict[str, str]:
    return reason_marks([*(row.reason for row in block.costs), *(row.reason for row in block.ratios)])


def _cost_cells(
    summary: Summary, block: TargetBlock, arm: ArmSummary, target: float, axis: CostAxis, marks: Mapping[str, str]
) -> tuple[str, ...]:
    cost = block.cost(arm.name, target, axis.value)
    left = (arm.label, cost_cell(cost, axis, summary.confidence, marks), f"{cost.reached} of {cost.seeds}")
    if arm.name == summary.baseline:
        return (*left, "baseline", "")
    row = block.ratio(arm.name, target, axis.value)
    detectable = "" if row.detectable is None else ratio_text(row.detectable)
    return (*left, ratio_cell(row, summary.confidence, marks), detectable)


def cost_cell(row: CostRow, axis: CostAxis, confidence: float, marks: Mapping[str, str]) -> str:
    numbers = [None if value is None else cost_text(axis, value) for value in (row.point, row.low, row.high)]
    return kind_text(row, numbers, confidence, marks)


def ratio_cell(row: RatioRow, confidence: float, marks: Mapping[str, str]) -> str:
    numbers = [None if value is None else ratio_text(value) for value in (row.point, row.low, row.high)]
    return kind_text(row, numbers, confidence, marks)


def kind_text(
    row: CostRow | RatioRow, numbers: Sequence[str | None], confidence: float, marks: Mapping[str, str]
) -> str:
    """Return a value with its kind: `2.31 (1.90 to 2.62)`, `at least 1.31 (97.5 % limit)`, or why there is none.

    `marks` maps the reason of each row to a letter.
    """
    point, low, high = numbers
    if row.claim is Claim.none:
        return f"cannot tell {marks[row.reason]}"
    mark = f" {marks[row.reason]}" if row.reason else ""
    if row.claim is Claim.estimate:
        return f"{point}{mark}" if low is None else f"{point} ({low} to {high}){mark}"
    side, limit = ("at least", low) if row.claim is Claim.at_least else ("at most", high)
    if limit is None:
        return f"{side} {point} in these runs{mark}"
    return f"{side} {limit} ({limit_level_text(confidence)} limit){mark}"


def _arms_table(summary: Summary) -> Table:
    rows = []
    for arm in summary.arms:
        role = " (baseline)" if arm.name == summary.baseline else ""
        clock = "unknown" if arm.cpu_per_wall is None else f"{arm.cpu_per_wall:.2f}"
        rows.append((arm.label + role, arm.note, ", ".join(arm.overrides), trigger_text(arm, summary.origin), clock))
    header = ("arm", "what it is", "settings of its own", "entropy trigger", "CPU s per training s and process")
    return table(header, rows, left=4, arms=[arm.name for arm in summary.arms])
