"""Notes of a report: missing runs, incompatible clocks, and the definition of every term."""

from __future__ import annotations

from functools import lru_cache
from statistics import fmean

from sfpo_bench.core.costs import MAIN_AXES, CostAxis
from sfpo_bench.core.types import Split
from sfpo_bench.reports.axes import known_axes
from sfpo_bench.reports.clocks import clock_problem, cpu_shares, one_thread_each
from sfpo_bench.reports.document import Line, line
from sfpo_bench.reports.formats import level_text, limit_level_text, range_text, target_text
from sfpo_bench.reports.load import SeedStatus
from sfpo_bench.reports.summary import ArmSummary, Summary
from sfpo_bench.statistics import FEWEST_SEEDS, SMALL_FACTOR, unseen_share
from sfpo_bench.statistics.cost_to_target import LATE, SLOW_TAIL
from sfpo_bench.statistics.crossing_bias import crossing_bias
from sfpo_bench.statistics.few_problems import few_problems
from sfpo_bench.statistics.kinds import GAP, SPREADS

TRIGGER_LABEL = "entropy trigger fired"
UNKNOWN = "an unknown number of"


def responses_per_point(summary: Summary) -> str:
    """Return the number of responses per point of a run's curve: `768` or `512 to 768`; `UNKNOWN` for some imports."""
    counts = [point.n for arm in summary.arms for curve in arm.curves for point in curve.points]
    if summary.origin and not all(counts):
        return UNKNOWN
    return range_text(min(counts), max(counts)) if counts else "0"


def problems_per_point(summary: Summary) -> str:
    """Return ` to 6 problems` if a point has several responses per problem; empty otherwise or if unknown."""
    points = [point for arm in summary.arms for curve in arm.curves for point in curve.points]
    counts = [point.problems for point in points if 0 < point.problems < point.n]
    return f" to {range_text(min(counts), max(counts))} problems" if counts else ""


def few_problems_warning(summary: Summary) -> str | None:
    """Return a warning about too few problems; None if there are enough or their number is unknown."""
    counts = [point.problems for arm in summary.arms for curve in arm.curves for point in curve.points]
    known = [count for count in counts if count]
    return few_problems(min(known), summary.split) if known else None


def seeds_text(summary: Summary) -> str:
    """Return the number of runs that means use: `10 seeds per arm`, or `3 to 10 seeds per arm`."""
    counts = [len(arm.counted()) for arm in summary.arms]
    plural = "seed" if max(counts) == 1 else "seeds"
    return f"{range_text(min(counts), max(counts))} {plural} per arm"


def measure_text(summary: Summary) -> str:
    """Return a description of the accuracy: `sampled accuracy at temperature 1 on the report split`."""
    if summary.origin:
        return "accuracy as it was logged"
    how = "greedy accuracy" if summary.mode == "greedy" else f"{summary.mode} accuracy at temperature "
    temperature = "" if summary.mode == "greedy" else f"{summary.temperature:g}"
    return f"{how}{temperature} on the {summary.split} split"


def is_complete(summary: Summary) -> bool:
    """Return True if every planned run has finished."""
    return all(arm.seeds_finished == arm.seeds_planned for arm in summary.arms)


def unfinished_lines(summary: Summary) -> list[Line]:
    """Return one line for every unfinished run, with the known cause."""
    return [
        line(
            arm.span(),
            f", seed {curve.seed}: {curve.status} at step {curve.step} of {summary.steps}"
            f"{', no evaluation' if not curve.points else ''}{f': {curve.cause}' if curve.cause else ''}",
        )
        for arm in summary.arms
        for curve in arm.curves
        if curve.status is not SeedStatus.finished or not curve.points
    ]


def clock_warning(summary: Summary) -> str | None:
    """Return why ratios on time axes are withheld, with the values behind it; None if times can be compared."""
    problem = clock_problem(summary.arms)
    if problem is None:
        return None
    listed = ", ".join(f"{label} {share:.2f}" for label, share in cpu_shares(summary.arms).items())
    alone = "1 for one thread that never waits, " if one_thread_each(summary.arms) else ""
    return (
        f"ratios on time axes are withheld: {problem}; CPU seconds per training second and process are "
        f"{listed or 'not known'}, "
        f"expected is {alone}the same in every arm"
    )


def trigger_text(arm: ArmSummary, origin: str = "") -> str:
    """Return where the fast stage was switched off: `steps 31, 34 (2 of 3 runs)`, `did not fire`, or `not recorded`."""
    if origin:
        return "not recorded"
    if not arm.evaluated():
        return "no run yet"
    steps = [curve.trigger_step for curve in arm.curves if curve.trigger_step is not None]
    if not steps:
        return "did not fire"
    word = "step" if len(steps) == 1 else "steps"
    return f"{word} {', '.join(str(step) for step in steps)} ({len(steps)} of {len(arm.evaluated())} runs)"


def any_trigger(summary: Summary) -> bool:
    """Return True if the entropy trigger fired in some run."""
    return any(curve.trigger_step is not None for arm in summary.arms for curve in arm.evaluated())


def figure_caption(summary: Summary) -> str:
    """Return the meaning of lines, bands and markers."""
    sizes, level = {min(len(arm.counted()), 2) for arm in summary.arms}, level_text(summary.confidence)
    parts = []
    if summary.runs_stopped:
        parts.append("Runs end at their target; a mean goes as far as all runs of its arm.")
    if 2 in sizes:
        parts.append("Thick line: mean over seeds; thin lines: single seeds.")
        parts.append(f"Band: {level} t interval over seeds at each point alone, cut at the panel's edge.")
    if 1 in sizes and summary.origin and responses_per_point(summary) == UNKNOWN:
        parts.append("An arm with one seed has no band: how many responses its accuracies are of is not known.")
    elif 1 in sizes:
        over = "problems" if problems_per_point(summary) else "responses"
        parts.append(f"Band of an arm with one seed: {level} Wilson interval over its {over}, blind to other seeds.")
    problem = clock_problem(summary.arms) if CostAxis.train_seconds in summary.axes else None
    if problem:
        parts.append(f"Times are not compared and ratios of them are withheld: {problem}.")
    return " ".join(parts)


def method_lines(summary: Summary) -> list[str]:
    """Return the estimand, units, censoring and n, one line each."""
    level, limit = level_text(summary.confidence), limit_level_text(summary.confidence)
    return [
        "Cost to a target: the cost at which a run's accuracy curve first reaches the target, interpolated linearly "
        "between the evaluation that reached it and the one before. A noisy curve crosses early. All arms are "
        "evaluated at the same steps and with the same number of responses, so that this effect is equal.",
        f"Cost of an arm: the geometric mean over its seeds, with a {level} t interval on logs. Its upper end is "
        f"farther by 1 + {SLOW_TAIL:g}/n because costs have slow tails, its lower end by 1 + 1/n if a run needed "
        f"more than {100 * LATE:.0f} % of its budget. Ratio: the geometric mean of the baseline divided by that of the "
        f"arm, with a {level} Welch t interval on logs. Above 1 the arm is cheaper. Seeds are treated as "
        "independent, not as pairs.",
        *_verdict_lines(summary),
        f"Would detect: the smallest ratio that these seeds, with their observed spread, distinguish from 1 at {level} "
        "with 80 % power, on either side of 1.",
        *crossing_lines(summary),
        *stop_lines(summary),
        *_unseen_lines(summary),
        "If some runs did not reach a target, the cost is at least the limit of the runs that did. The ratio is then "
        "at most (if the arm did not reach it) or at least (if the baseline did not) the value from the spent budgets. "
        "The runs that stopped get at least the spread of the other arm. Limits are one-sided, "
        f"{limit}. If neither arm reached it, no ratio is stated. A run that reached it at its first evaluation at no "
        "cost cannot be compared.",
        f"n: an accuracy of one run is the share correct among {responses_per_point(summary)} responses"
        f"{problems_per_point(summary)} ({measure_text(summary)}). Final accuracies are means over finished seeds with "
        f"a {level} t interval over seeds. One seed has a Wilson interval over its responses, or over its problems if "
        "they are fewer (as if each were solved always or never). It does not cover other seeds. Intervals over seeds "
        "cover the seeds and the sampling of responses, not another choice of problems, model or initial weights.",
        *(f"{axis.words.capitalize()}: {axis.meaning}." for axis in known_axes(summary.axes)),
        *origin_lines(summary),
        *_device_lines(summary),
        f"Code version: {summary.code_version}.",
    ]


def origin_lines(summary: Summary) -> list[str]:
    """Return the origin of imported runs and what their log lacks; empty for runs of this package."""
    if not summary.origin:
        return []
    absent = [axis.words for axis in CostAxis if axis.value not in summary.axes]
    lacking = f" Not recorded there, so not in the tables and figures: {', '.join(absent)}." if absent else ""
    return [f"Imported from {summary.origin}; costs and accuracies are as logged.{lacking}"]


def stop_lines(summary: Summary) -> list[str]:
    """Return how runs that end at their target are measured, and what remains unknown; empty if no run ends early."""
    if summary.stop_at is None:
        return []
    stop, runs = summary.stop_at, sum(len(arm.curves) for arm in summary.arms)
    lines = [
        f"Runs end at their target, {stop}, or after {summary.steps} steps: {summary.runs_stopped} of {runs} ended "
        "before. Their costs are those of the first crossing"
        f"{', not of the evaluation that confirmed it' if stop.patience > 1 else ''}: the same values as for runs that "
        "continue. A run that did not reach the target spent its whole budget, and counts as not reached within it."
    ]
    if summary.runs_stopped:
        lines.append(
            "Final accuracies are not compared: runs that ended at their target spent different budgets, and their "
            "last accuracy is the one that ended them. Mean curves end where the first run of an arm ended. The "
            "bias of first crossings is not estimated, because the curves after them are missing."
        )
    if stop.split is Split.report:
        lines.append("The problems that end a run are those that are reported (training.stop_at.allow_report).")
    return lines


def holm_lines(summary: Summary) -> list[str]:
    """Return how many statements are judged together on each axis; empty if nothing is compared."""
    family = max((row.family for row in summary.absolute.ratios), default=0)
    if family == 0:
        return []
    noun = "statements" if family > 1 else "statement"
    return [
        f"{family} {noun} ({_family_text(summary)}): a difference is stated only if it holds after Holm's "
        f"adjustment over all of them at {level_text(summary.confidence)}, and if both arms have {FEWEST_SEEDS} "
        "seeds or more. Intervals are not adjusted."
    ]


def _family_text(summary: Summary) -> str:
    """Return what the statements are about: `arms and targets, of responses and of training time each`."""
    axes = [axis.noun for axis in known_axes(summary.axes, MAIN_AXES)]
    each = " each" if len(axes) > 1 else ""
    return f"arms and targets, {' and '.join(f'of {noun}' for noun in axes)}{each}"


def _verdict_lines(summary: Summary) -> list[str]:
    """Return the rule by which the answer states that there is no difference."""
    if not holm_lines(summary):
        return []
    return [
        f"Answers: for an interval inside 1/{SMALL_FACTOR:g} to {SMALL_FACTOR:g} the answer is no difference larger "
        "than its farther end. The number of seeds needed is for 80 % power after Holm, if the observed ratio is true."
    ]


def crossing_lines(summary: Summary) -> list[str]:
    """Return how early the first crossings on responses come due to noise; empty if unknown."""
    shares = crossing_shares(summary)
    found = []
    for target in dict.fromkeys(target for _, target in shares):
        parts = [f"{arm.label} {shares[arm.name, target]:.2f}" for arm in summary.arms if (arm.name, target) in shares]
        found.append(f"to {target_text(target)} {', '.join(parts)}")
    if not found:
        return []
    return [
        "First crossings of noisy curves come early. Estimated from each run's isotonic fit, mean over runs, they are "
        f"at these shares of the responses at which curves without noise would cross: {'; '.join(found)}. Costs are "
        "not corrected for this bias. It cancels in a ratio if the shares of both arms are equal."
    ]


def crossing_shares(summary: Summary) -> dict[tuple[str, float], float]:
    """Return by arm and target the first crossing on responses relative to that without noise, mean over runs.

    Arms and targets for which this is unknown are absent."""
    if CostAxis.responses not in summary.axes:
        return {}
    targets = [*summary.targets, *(summary.paper.targets if summary.paper else ())]
    found = {(arm.name, target): _crossing_share(arm, target) for target in targets for arm in summary.arms}
    return {place: share for place, share in found.items() if share is not None}


def _crossing_share(arm: ArmSummary, target: float) -> float | None:
    """Return None also for an arm with runs that ended at their target.

    The fit of such a curve would be biased by its last point, which was selected, and only slow runs would remain."""
    if any(curve.planned_share < 1 for curve in arm.evaluated()):
        return None
    found = [
        _known_bias(
            tuple(curve.costs(CostAxis.responses)), tuple(curve.accuracies()), tuple(p.n for p in curve.points), target
        )
        for curve in arm.evaluated()
    ]
    known = [bias for bias in found if bias is not None]
    return fmean(known) if known else None


# Cached, since several files of a report state it.
_known_bias = lru_cache(maxsize=4096)(crossing_bias)


def _unseen_lines(summary: Summary) -> list[str]:
    """Return what runs that all reached a target cannot show."""
    full = [row.seeds for row in summary.absolute.costs if 0 < row.reached == row.seeds]
    if not full:
        return []
    n = min(full)
    return [
        f"A cost with an interval covers only seeds that reach the target, as all its runs did. With {n} of {n} runs, "
        f"up to {100 * unseen_share(n):.0f} % of seeds may not reach it, or may be much slower. If the costs form two "
        f"groups (a gap of a factor {GAP:g} and {SPREADS:g} standard deviations), a bound is stated instead. Intervals "
        "of a cost allow for a slow tail, those of a ratio do not: at 95 % they cover 91 to 96 % if one arm has such a "
        "tail and the other does not."
    ]


def _device_lines(summary: Summary) -> list[str]:
    devices = dict.fromkeys(curve.device for arm in summary.arms for curve in arm.curves if curve.device)
    if not devices:
        return ["Device: not recorded."]
    warning = "" if len(devices) == 1 else " (runs on different devices: their times are not comparable)"
    return [f"Device: {'; '.join(devices)}{warning}."]
