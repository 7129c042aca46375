"""How often the report's intervals and bounds are right. The numbers in docs/protocol.md come from these commands.

    python -m benchmarks.calibration simulate [--repetitions 2000]   known truth, curves like ours
    python -m benchmarks.calibration pairing                         Welch against pairs that share data order
    python -m benchmarks.calibration paper                           the target that the baseline's own runs choose
    python -m benchmarks.calibration power                           how often a true ratio is found
    python -m benchmarks.calibration shapes                          seeds of two kinds, and slow tails
    python -m benchmarks.calibration crossings [--repetitions 60]    how early noisy curves cross
    python -m benchmarks.calibration aa FOLDER [--arm grpo] [--seeds 10] [--splits 500]
                                                                     random halves of one arm's real runs

Every command prints Markdown and is the same for the same `--seed`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.cost_shapes import SHAPES, Flags, said_of_costs
from benchmarks.simulated_curves import (
    RESPONSES_PER_EVALUATION,
    RESPONSES_PER_STEP,
    STEPS,
    Array,
    SimulatedArm,
    deviations,
    first_crossings,
    measured,
    seed_costs,
    true_accuracies,
)
from sfpo_bench.core.costs import CostAxis
from sfpo_bench.reports.load import load_comparison
from sfpo_bench.reports.summarise import best_mean_accuracy, build_summary
from sfpo_bench.reports.summary import SeedCurve
from sfpo_bench.statistics import (
    Claim,
    SeedCost,
    Statement,
    cost_ratio,
    cost_to_target,
    geometric_mean_interval,
    mean_interval,
    typical_cost,
    wilson_interval,
)
from sfpo_bench.statistics.crossing_bias import crossing_bias

SEEDS = (3, 5, 10, 20)
SHOWN_FROM = 200  # fewer cases have a standard error above 1.5 points
TARGETS = (0.50, 0.60, 0.65, 0.67)
BUDGET = float(STEPS * RESPONSES_PER_STEP)
LONG = 8  # the truth of a bound comes from runs eight times as long
POPULATION, CHUNK = 60_000, 10_000

SCENARIOS = {
    "alike": (SimulatedArm(), SimulatedArm()),
    "twice as fast, every 4 steps": (SimulatedArm(every=4), SimulatedArm(speed=2, every=4)),
    "twice as fast, a tenth of the baseline collapses": (SimulatedArm(collapsed=0.1), SimulatedArm(speed=2)),
    "1.5 times as fast, spread 0.3": (SimulatedArm(spread=0.3), SimulatedArm(speed=1.5, spread=0.3)),
}


@dataclass(slots=True)
class Share:
    """How many of the statements of one kind were right, and how many there were to be."""

    right: list[bool] = field(default_factory=list)
    tries: int = 0

    def text(self) -> str:
        """`95.1` with the share of repetitions in which it was printed when not all; `-` below 200 cases."""
        if len(self.right) < SHOWN_FROM:
            return "-"
        printed = len(self.right) / max(1, self.tries)
        return f"{100 * np.mean(self.right):.1f}" + (f" ({printed:.2f})" if printed < 0.995 else "")


def simulate(repetitions: int, seed: int) -> str:
    """Coverage of every kind of interval and bound, as tables."""
    random = np.random.default_rng(seed)
    lines = ["| curves | target | reach it | printed | " + " | ".join(f"{n} seeds" for n in SEEDS) + " |"]
    lines.append("| :--- | ---: | ---: | :--- |" + " ---: |" * len(SEEDS))
    for name, arms in SCENARIOS.items():
        populations = [_population(arm, TARGETS, random) for arm in arms]
        for target in TARGETS:
            lines += _target_rows(name, target, [population[target] for population in populations], repetitions, random)
    return "\n".join([*lines, "", *_accuracy_rows(repetitions, random)])


def _population(arm: SimulatedArm, targets: Sequence[float], random: np.random.Generator) -> dict[float, Array]:
    """Costs of many seeds to each target, from runs `LONG` times the budget."""
    chunks: dict[float, list[Array]] = {target: [] for target in targets}
    costs_T = arm.grid(LONG)
    for _ in range(POPULATION // CHUNK):
        curves = measured(true_accuracies(arm, CHUNK, random, LONG), random)
        for target in targets:
            chunks[target].append(first_crossings(costs_T, curves, target))
    return {target: np.concatenate(parts) for target, parts in chunks.items()}


def within_budget(costs: Array) -> Array:
    """The costs as runs of the budget see them: inf above it."""
    return np.where(costs <= BUDGET, costs, np.inf)


def truth_of(costs: Array, all_reached: bool) -> float:
    """The log of the geometric mean that a statement speaks of.

    With an interval: of seeds that reach the target within the budget, as all that were seen did. With a bound: of all
    seeds, inf where some never arrive.
    """
    return float(np.log(costs[costs <= BUDGET] if all_reached else costs).mean())


def is_right(said: Statement, log_truth: float) -> bool | None:
    """Whether what is printed holds; None when no interval and no limit is printed."""
    if said.low is None and said.high is None:
        return None
    above = said.low is None or math.log(said.low) <= log_truth
    return above and (said.high is None or log_truth <= math.log(said.high))


def _target_rows(
    name: str, target: float, populations: Sequence[Array], repetitions: int, random: np.random.Generator
) -> list[str]:
    kinds = ("cost interval", "cost bound", "ratio interval", "ratio bound")
    shares = {(kind, n): Share(tries=repetitions) for kind in kinds for n in SEEDS}
    seen = [within_budget(population) for population in populations]
    truths = [[truth_of(population, known) for known in (False, True)] for population in populations]
    for n in SEEDS:
        for _ in range(repetitions):
            arms = [random.choice(population, n) for population in seen]
            full = [bool(np.isfinite(arm).all()) for arm in arms]
            logs = [own[known] for own, known in zip(truths, full, strict=True)]
            base, arm = (seed_costs(costs) for costs in arms)
            said_of_both = (("cost", typical_cost(base), logs[0]), ("ratio", cost_ratio(base, arm), logs[0] - logs[1]))
            for what, said, truth in said_of_both:
                right = is_right(said, truth)
                if right is not None:
                    kind = "interval" if said.claim is Claim.estimate else "bound"
                    shares[f"{what} {kind}", n].right.append(right)
    reach = f"{np.isfinite(seen[0]).mean():.2f}, {np.isfinite(seen[1]).mean():.2f}"
    rows = []
    for kind in kinds:
        cells = [shares[kind, n].text() for n in SEEDS]
        if set(cells) != {"-"}:
            rows.append(f"| {name} | {target:.2f} | {reach} | {kind} | {' | '.join(cells)} |")
    return rows


def _accuracy_rows(repetitions: int, random: np.random.Generator) -> list[str]:
    """Mean accuracy, the band at every evaluation and on the seconds grid, Wilson for one run."""
    arm = SimulatedArm()
    population = true_accuracies(arm, POPULATION, random)
    final, band = [], []
    for n in SEEDS:
        sample = measured(population[random.integers(POPULATION, size=(repetitions, n))], random)
        final.append(f"{100 * _t_coverage(sample[:, :, -1], float(population[:, -1].mean())):.1f}")
        points = [_t_coverage(sample[:, :, t], float(population[:, t].mean())) for t in range(1, sample.shape[2])]
        band.append(f"{100 * min(points):.1f} to {100 * max(points):.1f}")
    header = ["| printed | " + " | ".join(f"{n} seeds" for n in SEEDS) + " |", "| :--- |" + " ---: |" * len(SEEDS)]
    rows = [f"| mean accuracy at the end | {' | '.join(final)} |"]
    rows.append(f"| band at one evaluation, least to most | {' | '.join(band)} |")
    rows.append(f"| band on the grid of seconds, least to most | {' | '.join(_seconds_bands(repetitions, random))} |")
    wilson = [f"{100 * _wilson_coverage(share, repetitions, random):.1f} at {share:g}" for share in (0.09, 0.5, 0.66)]
    return [*header, *rows, "", f"Wilson interval of one run's accuracy: {', '.join(wilson)}."]


def _t_coverage(values_RN: Array, truth: float) -> float:
    intervals = [mean_interval(row).interval for row in values_RN.tolist()]
    return float(np.mean([interval is not None and interval.contains(truth) for interval in intervals]))


def _seconds_bands(repetitions: int, random: np.random.Generator) -> list[str]:
    """Pointwise coverage at five costs in seconds, runs of different pace interpolated onto them."""
    arm = SimulatedArm()
    places = np.linspace(0.15, 0.85, 5)  # a step takes 1/60 on average
    curves, paces = true_accuracies(arm, POPULATION // 3, random), _paces(arm, POPULATION // 3, random)
    truths = _interpolated(measured(curves, random), paces, places).mean(axis=0)
    cells = []
    for n in SEEDS:
        chosen = random.integers(len(curves), size=repetitions * n)
        rows = _interpolated(measured(curves[chosen], random), paces[chosen], places).reshape(repetitions, n, 5)
        shares = [_t_coverage(rows[:, :, place], float(truths[place])) for place in range(5)]
        cells.append(f"{100 * min(shares):.1f} to {100 * max(shares):.1f}")
    return cells


def _paces(arm: SimulatedArm, seeds: int, random: np.random.Generator) -> Array:
    return np.exp(arm.seconds_spread * random.standard_normal(seeds))


def _interpolated(curves_PT: Array, paces_P: Array, places: Array) -> Array:
    time_T = np.linspace(0, 1, curves_PT.shape[1])
    return np.array([np.interp(places, pace * time_T, row) for pace, row in zip(paces_P, curves_PT, strict=True)])


def _wilson_coverage(share: float, repetitions: int, random: np.random.Generator) -> float:
    n = RESPONSES_PER_EVALUATION
    hits = random.binomial(n, share, 10 * repetitions).tolist()
    intervals = [wilson_interval(successes, n).interval for successes in hits]
    return float(np.mean([interval is not None and interval.contains(share) for interval in intervals]))


def paper_target(repetitions: int, seed: int) -> str:
    """Ratio intervals at the baseline's best mean accuracy, a target that the same runs choose."""
    random = np.random.default_rng(seed)
    grid = np.round(np.arange(0.62, 0.72, 0.0025), 4).tolist()
    arms = (SimulatedArm(), SimulatedArm(speed=2))
    populations = [_population(arm, grid, random) for arm in arms]
    truths = [
        {known: [truth_of(population[step], known) for step in grid] for known in (False, True)}
        for population in populations
    ]
    cells = []
    for n in SEEDS:
        share = Share(tries=repetitions)
        for _ in range(repetitions):
            base, arm = (measured(true_accuracies(own, n, random), random) for own in arms)
            target = float(base.mean(axis=0).max())
            known = [first_crossings(own.grid(), curves, target) for own, curves in zip(arms, (base, arm), strict=True)]
            logs = [
                np.interp(target, grid, truth[bool(np.isfinite(costs).all())])
                for truth, costs in zip(truths, known, strict=True)
            ]
            right = is_right(cost_ratio(seed_costs(known[0]), seed_costs(known[1])), float(logs[0] - logs[1]))
            if right is not None:
                share.right.append(right)
        cells.append(f"{n} seeds {share.text()}")
    return f"Ratio at the baseline's best mean accuracy, interval or bound right: {', '.join(cells)}."


def pairing(repetitions: int, seed: int) -> str:
    """Level and width of Welch's and of the paired t interval when seeds share part of their deviations."""
    random = np.random.default_rng(seed)
    lines = [
        "| shared variance | correlation of log costs | seeds | Welch covers | paired covers | paired width / Welch |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for shared in (0.0, 0.5, 0.9):
        base, arm = _correlated(shared, 20_000, random)
        correlation, truth = float(np.corrcoef(base, arm)[0, 1]), float((base - arm).mean())
        for n in SEEDS:
            chosen = random.integers(len(base), size=(repetitions, n))
            results = [_both_intervals(base[rows], arm[rows], truth) for rows in chosen]
            welch, paired = (100 * np.mean([result[side] for result in results]) for side in (0, 1))
            width = np.median([result[2] for result in results])
            lines.append(f"| {shared:g} | {correlation:.2f} | {n} | {welch:.1f} | {paired:.1f} | {width:.2f} |")
    return "\n".join(lines)


def _correlated(shared: float, seeds: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Log costs to 0.60 of two arms whose seeds share `shared` of the variance of speed and wobble, not of noise."""
    arms = (SimulatedArm(), SimulatedArm(speed=1.5))
    common = deviations(len(arms[0].grid()), seeds, random)
    curves = [measured(true_accuracies(arm, seeds, random, shared=shared, common=common), random) for arm in arms]
    logs = [np.log(first_crossings(arm.grid(), rows, 0.60)) for arm, rows in zip(arms, curves, strict=True)]
    both = np.isfinite(logs[0]) & np.isfinite(logs[1])
    return logs[0][both], logs[1][both]


def _both_intervals(base: Array, arm: Array, truth: float) -> tuple[bool, bool, float]:
    """Whether Welch's and the paired interval cover, and the paired one's width over Welch's, on logs."""
    said = cost_ratio(seed_costs(np.exp(base)), seed_costs(np.exp(arm)))
    paired = geometric_mean_interval(np.exp(base - arm).tolist()).interval
    assert paired is not None and said.low is not None and said.high is not None
    width = math.log(paired.high / paired.low) / math.log(said.high / said.low)
    return is_right(said, truth) is True, paired.contains(math.exp(truth)), width


def power(repetitions: int, seed: int) -> str:
    """How often a true ratio of about 2, 1.5 and 1.25 is found: the interval or limit excludes 1 on the right side."""
    random = np.random.default_rng(seed)
    lines = ["| speed | target | " + " | ".join(f"{n} seeds" for n in SEEDS) + " |"]
    lines.append("| ---: | ---: |" + " ---: |" * len(SEEDS))
    for speed in (2.0, 1.5, 1.25):
        populations = [_population(arm, TARGETS[:3], random) for arm in (SimulatedArm(), SimulatedArm(speed=speed))]
        for target in TARGETS[:3]:
            seen = [within_budget(population[target]) for population in populations]
            cells = [f"{100 * _found(seen, n, repetitions, random):.0f}" for n in SEEDS]
            lines.append(f"| {speed:g} | {target:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _found(seen: Sequence[Array], n: int, repetitions: int, random: np.random.Generator) -> float:
    found = 0
    for _ in range(repetitions):
        said = cost_ratio(seed_costs(random.choice(seen[0], n)), seed_costs(random.choice(seen[1], n)))
        found += said.low is not None and said.low > 1
    return found / repetitions


def shapes(repetitions: int, seed: int) -> str:
    """What is said of one cost (bound or interval), and of its ratio to a lognormal arm, whatever the shape, in %.

    Of costs 50 times as many repetitions as of ratios.
    """
    random = np.random.default_rng(seed)
    head = ("costs", "seeds", "Student covers", "two kinds", "bound right", "interval right", "printed right")
    lines = [f"| {' | '.join((*head, 'ratio right'))} |", "| :--- |" + " ---: |" * len(head)]
    for name, draw in SHAPES.items():
        truth = float(draw(random, (4_000_000,)).mean())
        for n in SEEDS:
            said = said_of_costs(draw(random, (50 * repetitions, n)), truth)
            parts = (said.right[said.bound], said.right[~said.bound], said.right)
            cells = [_share(part) for part in (said.student, said.bound, *parts)]
            ratios = [
                is_right(cost_ratio(seed_costs(costs), seed_costs(np.exp(0.14 * random.standard_normal(n)))), truth)
                for costs in np.exp(draw(random, (repetitions, n)))
            ]
            lines.append(f"| {name} | {n} | {' | '.join(cells)} | {_share(np.array(ratios, dtype=bool))} |")
    return "\n".join(lines)


def _share(hits: Flags) -> str:
    return f"{100 * hits.mean():.1f}" if len(hits) >= SHOWN_FROM else "-"


def crossings(repetitions: int, seed: int) -> str:
    """First crossings over those of the same curves without noise, and what `crossing_bias` says of them."""
    random, arm = np.random.default_rng(seed), SimulatedArm()
    costs_T = arm.grid()
    lines = ["| responses a point | target | noisy / true | estimated | standard deviation of one run's |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: |")
    for n in (64, 256, 768):
        for target in TARGETS[:2]:
            true = true_accuracies(arm, 4000, random)
            curves = random.binomial(n, true) / n
            logs = np.log(first_crossings(costs_T, curves, target)) - np.log(first_crossings(costs_T, true, target))
            sizes = [n] * len(costs_T)
            said = [crossing_bias(costs_T.tolist(), row, sizes, target) for row in curves[:repetitions].tolist()]
            known = [one for one in said if one is not None]
            cells = (math.exp(logs[np.isfinite(logs)].mean()), np.mean(known), np.std(known))
            lines.append(f"| {n} | {target:.2f} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    return "\n".join(lines)


def aa(folder: Path, arm: str, seeds: int, splits: int, seed: int) -> str:
    """What the report would have said of one arm's real runs against others of the same arm.

    Each split draws 2 x `seeds` runs without replacement and calls one half the baseline, the other "SFPO". An
    interval, or the limit of a bound, that excludes 1 is a false alarm, counted among the splits that print one.
    """
    summary = build_summary(load_comparison(folder))
    curves = summary.arm(arm).counted()
    if len(curves) < 2 * seeds:
        raise SystemExit(
            f"found {len(curves)} evaluated runs of {arm} in {folder.name}; expected at least {2 * seeds} for "
            f"splits of {seeds} against {seeds}; run more seeds or set --seeds"
        )
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(curves)).tolist() for _ in range(splits)]
    halves = [(order[:seeds], order[seeds : 2 * seeds]) for order in orders]
    lines = [
        f"{len(curves)} runs of {arm}, {splits} random splits of {seeds} against {seeds}.",
        "",
        "| axis | target | false alarms, % | intervals, % | bounds, % | ratio SFPO would have scored |",
        "| :--- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for axis in CostAxis:
        for target in summary.targets:
            costs = [_cost(curve, axis.value, target) for curve in curves]
            said = [cost_ratio([costs[i] for i in left], [costs[i] for i in right]) for left, right in halves]
            lines.append(_aa_row(axis.label, f"{target:.2f}", said))
        lines.append(_aa_row(axis.label, "best of baseline", [_at_best(curves, axis.value, *half) for half in halves]))
    return "\n".join(lines)


def _cost(curve: SeedCurve, axis: str, target: float) -> SeedCost:
    return cost_to_target(curve.costs(axis), curve.accuracies(), target)


def _at_best(curves: Sequence[SeedCurve], axis: str, left: Sequence[int], right: Sequence[int]) -> Statement:
    """The ratio at the best mean accuracy of the half called the baseline."""
    base, arm = ([curves[i] for i in half] for half in (left, right))
    best = best_mean_accuracy(base)
    assert best is not None
    base_costs, costs = ([_cost(curve, axis, best[1]) for curve in half] for half in (base, arm))
    return cost_ratio(base_costs, costs)


def _aa_row(axis: str, target: str, said: Sequence[Statement]) -> str:
    judged = [is_right(one, 0.0) for one in said]
    printed = [right for right in judged if right is not None]
    points = [one.point for one in said if one.claim is Claim.estimate and one.point is not None]
    middle = "none" if not points else "{:.2f} to {:.2f}".format(*np.quantile(points, (0.025, 0.975)))
    intervals = f"{100 * len(points) / len(said):.0f}"
    alarms = f"{100 * (1 - np.mean(printed)):.1f}" if printed else "-"
    bounds = f"{100 * len(printed) / len(said) - 100 * len(points) / len(said):.0f}"
    return f"| {axis} | {target} | {alarms} | {intervals} | {bounds} | {middle} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    simulations: dict[str, Callable[[int, int], str]] = {
        "simulate": simulate,
        "paper": paper_target,
        "pairing": pairing,
        "power": power,
        "shapes": shapes,
        "crossings": crossings,
    }
    for verb in simulations:
        verbs.add_parser(verb).add_argument("--repetitions", type=int, default=2000)
    real = verbs.add_parser("aa")
    real.add_argument("folder", type=Path)
    real.add_argument("--arm", default="grpo")
    real.add_argument("--seeds", type=int, default=10)
    real.add_argument("--splits", type=int, default=500)
    for command in verbs.choices.values():
        command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.verb == "aa":
        print(aa(options.folder, options.arm, options.seeds, options.splits, options.seed))
    else:
        print(simulations[options.verb](options.repetitions, options.seed))


if __name__ == "__main__":
    main()
