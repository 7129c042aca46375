"""What a reader must know beside the numbers: runs that are missing, clocks that disagree, what every word means."""

from __future__ import annotations

from sfpo_bench.reports.axes import AXES
from sfpo_bench.reports.formats import level_text, limit_level_text, range_text
from sfpo_bench.reports.load import SeedStatus
from sfpo_bench.reports.summary import ArmSummary, Summary

CLOCK_TOLERANCE = 0.10
TRIGGER_LABEL = "entropy trigger fired"


def responses_per_point(summary: Summary) -> str:
    """`768`, or `512 to 768`: how many responses one point of one run's curve is the mean of."""
    counts = [point.n for arm in summary.arms for curve in arm.curves for point in curve.points]
    return range_text(min(counts), max(counts)) if counts else "0"


def seeds_text(summary: Summary) -> str:
    """`10 seeds per arm`, or `3 to 10 seeds per arm`: the runs that means are taken over."""
    counts = [len(arm.counted()) for arm in summary.arms]
    plural = "seed" if max(counts) == 1 else "seeds"
    return f"{range_text(min(counts), max(counts))} {plural} per arm"


def measure_text(summary: Summary) -> str:
    """What the accuracy is: `sampled accuracy at temperature 1 on the report split`."""
    how = "greedy accuracy" if summary.mode == "greedy" else f"{summary.mode} accuracy at temperature "
    temperature = "" if summary.mode == "greedy" else f"{summary.temperature:g}"
    return f"{how}{temperature} on the {summary.split} split"


def is_complete(summary: Summary) -> bool:
    """True when every planned run has finished."""
    return all(arm.seeds_finished == arm.seeds_planned for arm in summary.arms)


def unfinished_lines(summary: Summary) -> list[str]:
    """One line for every run that has not finished, with what is known of why."""
    return [
        f"{arm.label}, seed {curve.seed}: {curve.status} at step {curve.step} of {summary.steps}"
        f"{', no evaluation' if not curve.points else ''}{f': {curve.cause}' if curve.cause else ''}"
        for arm in summary.arms
        for curve in arm.curves
        if curve.status is not SeedStatus.finished or not curve.points
    ]


def clock_warning(summary: Summary) -> str | None:
    """A warning when CPU time per training second differs between arms by more than 10 %; else None.

    Runs of one thread on a CPU must besides be within 10 % of 1: on a shared machine a run that waits for a processor
    falls below. With several threads, or a GPU, no one number is to be expected.
    """
    ratios = {arm.label: arm.cpu_per_wall for arm in summary.arms if arm.cpu_per_wall is not None}
    if not ratios:
        return None
    low, high = min(ratios.values()), max(ratios.values())
    between_arms = high / low - 1 if low > 0 else float("inf")
    alone = _one_thread_each(summary)
    disagreement = max(abs(low - 1), abs(high - 1), between_arms) if alone else between_arms
    if disagreement <= CLOCK_TOLERANCE:
        return None
    size = f"{100 * disagreement:.0f} %" if disagreement < 10 else "a factor of ten"
    listed = ", ".join(f"{label} {ratio:.2f}" for label, ratio in ratios.items())
    expected = "1 for one thread that never waits, the same in every arm" if alone else "the same in every arm"
    return (
        f"times are not comparable to better than {size}: CPU seconds per training second are {listed}; "
        f"expected is {expected}"
    )


def _one_thread_each(summary: Summary) -> bool:
    """True when every run computes in a single thread of a CPU."""
    return all(
        arm.settings.get("threads") == 1 and all(curve.device in ("", "cpu") for curve in arm.evaluated())
        for arm in summary.arms
    )


def trigger_text(arm: ArmSummary) -> str:
    """`steps 31, 34 (2 of 3 runs)`: where the fast stage was switched off, or that it never was."""
    steps = [curve.trigger_step for curve in arm.curves if curve.trigger_step is not None]
    if not steps:
        return "did not fire"
    word = "step" if len(steps) == 1 else "steps"
    return f"{word} {', '.join(str(step) for step in steps)} ({len(steps)} of {len(arm.evaluated())} runs)"


def any_trigger(summary: Summary) -> bool:
    """True when the entropy trigger fired in some run."""
    return any(curve.trigger_step is not None for arm in summary.arms for curve in arm.evaluated())


def figure_caption(summary: Summary) -> str:
    """What lines, bands and markers are."""
    sizes, level = {min(len(arm.counted()), 2) for arm in summary.arms}, level_text(summary.confidence)
    parts = []
    if 2 in sizes:
        parts.append("Thick line: mean over seeds; thin lines: single seeds.")
        parts.append(f"Band: {level} t interval over seeds at each point alone, cut at the panel's edge.")
    if 1 in sizes:
        parts.append(f"Band of an arm with one seed: {level} Wilson interval over its responses, blind to other seeds.")
    return " ".join(parts)


def method_lines(summary: Summary) -> list[str]:
    """Estimand, units, censoring and n, one line each."""
    level, limit = level_text(summary.confidence), limit_level_text(summary.confidence)
    return [
        "Cost to a target: each run's own cost at which its accuracy curve first reaches the target, interpolated "
        "linearly between the evaluation before and the one that reached it. A noisy curve crosses early; arms are "
        "evaluated at the same steps and with the same number of responses so that this is the same for all.",
        f"Cost of an arm: the geometric mean over its seeds, with a {level} t interval on logs. Ratio: geometric mean "
        f"of the baseline over that of the arm, with a {level} Welch t interval on logs; above 1 the arm is cheaper. "
        "Seeds are treated as independent, not as pairs. Each interval stands alone: nothing is adjusted for the "
        "number of arms, targets and axes.",
        "Runs that did not reach a target count with what they spent up to their last evaluation as a lower bound. "
        "The ratio is then at most (arm did not reach) or at least (baseline did not reach) what these bounds give, "
        f"with a one-sided {limit} limit of the same calculation; when both did not reach, nothing is said. A run that "
        "was there at its first evaluation at no cost cannot be compared.",
        f"n: an accuracy of one run is the share correct among {responses_per_point(summary)} responses "
        f"({measure_text(summary)}). Final accuracies are means over finished seeds with a {level} t interval over "
        "seeds; with one seed, a Wilson interval over its responses, which is blind to other seeds. Intervals cover "
        "the seeds and the sampling of responses, not another choice of problems, model or starting weights.",
        *(f"{axis.title.split(',')[0].capitalize()}: {axis.meaning}." for axis in AXES),
        *_device_lines(summary),
        f"Code version: {summary.code_version}.",
    ]


def _device_lines(summary: Summary) -> list[str]:
    devices = dict.fromkeys(curve.device for arm in summary.arms for curve in arm.curves if curve.device)
    if not devices:
        return ["Device: not recorded."]
    warning = "" if len(devices) == 1 else " (runs on different devices: their times are not comparable)"
    return [f"Device: {'; '.join(devices)}{warning}."]
