"""Published results of others, and what follows from their numbers.

`published/NAME.yaml` holds the numbers as printed: scores in percent, costs in prompts and hours. This module computes
averages, differences and ratios from them, and checks whether the printed numbers agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from math import floor

import yaml

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.reports.papers.score import AVERAGE, PaperCheckpoint, PaperScore
from sfpo_bench.results.codec import from_plain
from sfpo_bench.statistics import Design, DifferenceError, difference_error

DEFAULT = "sfpo_2510_04072"


@dataclass(frozen=True, slots=True)
class PublishedBenchmark:
    """A column: a name in `evaluations/benchmarks`, and the number of problems consistent with its scores."""

    name: str
    problems: int


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A method's row in percent: one score per benchmark, and the average as printed."""

    model: str
    method: str
    scores: tuple[float, ...]
    average: float


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of a method up to the target: training steps, and the printed prompts and hours."""

    steps: int
    prompts: float
    hours: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class PublishedCost:
    """A row of the cost table: the costs of baseline and method, and the ratios as printed."""

    model: str
    baseline: Spent
    method: Spent
    prompts_ratio: float
    hours_ratio: float


@dataclass(frozen=True, slots=True)
class Published:
    """A publication. Scores use `samples` answers per problem, and training steps have `prompts_a_step` prompts.

    The method takes `fast_passes` more passes than the baseline. `curves` and `references` name files of `published/`.
    """

    source: str
    title: str
    where: str
    baseline: str
    samples: int
    temperature: float
    top_p: float
    prompt: str
    checkpoint: PaperCheckpoint
    notes: tuple[str, ...]
    benchmarks: tuple[PublishedBenchmark, ...]
    rows: tuple[PublishedRow, ...]
    prompts_a_step: int
    costs: tuple[PublishedCost, ...]
    fast_passes: int = 0
    curves: str = ""
    references: tuple[str, ...] = ()

    def baseline_of(self, row: PublishedRow) -> PublishedRow:
        """Return the baseline's row of the same model."""
        return next(one for one in self.rows if (one.model, one.method) == (row.model, self.baseline))


@dataclass(frozen=True, slots=True)
class Gain:
    """A published difference to the baseline, as a share, and the range of its sampling error."""

    model: str
    method: str
    benchmark: str
    problems: int
    difference: float
    error: DifferenceError


def published(name: str = DEFAULT) -> Published:
    """Return the results in `published/NAME.yaml`; raises `MissingDataError` for an unknown name."""
    known = sorted(one.name.removesuffix(".yaml") for one in _folder().iterdir() if one.name.endswith(".yaml"))
    if name not in known:
        raise MissingDataError(f"found no published results {name!r}; expected one of {', '.join(known)}")
    return from_plain(Published, published_data(name), f"published results {name}")


@cache
def published_data(place: str) -> object:
    """Return the content of `published/PLACE.yaml`."""
    return yaml.safe_load((_folder() / f"{place}.yaml").read_text(encoding="utf-8"))


def average(row: PublishedRow) -> float:
    """Return the mean of a row's scores, weighting benchmarks equally, in percent."""
    return sum(row.scores) / len(row.scores)


def published_scores(found: Published) -> list[PaperScore]:
    """Return the rows for a paper's table, with averages and differences computed here."""
    return [score for row in found.rows for score in _scores(found, row)]


def gains(found: Published) -> list[Gain]:
    """Return every method's difference to the baseline on each benchmark and on average."""
    return [
        gain
        for row in found.rows
        if row.method != found.baseline
        for gain in _gains(found, row, found.baseline_of(row))
    ]


def disagreements(found: Published) -> list[str]:
    """Return a sentence for every printed number that disagrees with the other printed numbers."""
    return [*_averages(found), *_counts(found), *_ratios(found)]


def _folder() -> Traversable:
    return files("sfpo_bench.reports") / "published"


def _scores(found: Published, row: PublishedRow) -> Iterator[PaperScore]:
    base = found.baseline_of(row)
    names = [(one.name, one.problems) for one in found.benchmarks]
    total = sum(problems for _, problems in names)
    values = [*row.scores, average(row)]
    against = [*base.scores, average(base)]
    for (name, problems), value, other in zip([*names, (AVERAGE, total)], values, against, strict=True):
        yield PaperScore(
            model=row.model,
            arm=row.method,
            checkpoint=found.checkpoint,
            benchmark=name,
            avg_at_k=value / 100,
            problems=problems,
            samples=found.samples,
            baseline=found.baseline,
            difference=None if row is base else (value - other) / 100,
            temperature=found.temperature,
            top_p=found.top_p,
            prompt=found.prompt,
            source=found.source,
        )


def _gains(found: Published, row: PublishedRow, base: PublishedRow) -> Iterator[Gain]:
    pairs = [(one / 100, two / 100) for one, two in zip(row.scores, base.scores, strict=True)]
    designs = [Design(one.problems, found.samples) for one in found.benchmarks]
    for benchmark, pair, design in zip(found.benchmarks, pairs, designs, strict=True):
        error = difference_error([pair], [design])
        yield Gain(row.model, row.method, benchmark.name, benchmark.problems, pair[0] - pair[1], error)
    difference = (average(row) - average(base)) / 100
    total = sum(one.problems for one in found.benchmarks)
    yield Gain(row.model, row.method, AVERAGE, total, difference, difference_error(pairs, designs))


# --- consistency of the printed numbers -------------------------------------------------------------------------------


def _averages(found: Published) -> Iterator[str]:
    for row in found.rows:
        if abs(average(row) - row.average) > 0.01:
            yield f"{row.model}, {row.method}: the columns average to {average(row):.2f}, printed is {row.average:.2f}."


def _counts(found: Published) -> Iterator[str]:
    for column, benchmark in enumerate(found.benchmarks):
        answers = benchmark.problems * found.samples
        odd = [row.scores[column] for row in found.rows if not fits_a_count(row.scores[column], answers)]
        if odd:
            listed = " and ".join(f"{score:.2f}" for score in odd)
            yield (
                f"{benchmark.name}: {listed} are no number of right answers among {benchmark.problems} x "
                f"{found.samples} = {answers:,}, neither rounded nor cut to two decimals."
            )


def fits_a_count(percent: float, answers: int) -> bool:
    """Return True if some integer number of correct answers out of `answers` prints as `percent`, rounded or cut."""
    nearest = round(percent / 100 * answers)
    printed = round(100 * percent)
    exact = [10_000 * count / answers for count in (nearest - 1, nearest, nearest + 1)]
    return any(printed in (floor(value + 0.5), floor(value + 1e-9)) for value in exact)


def _ratios(found: Published) -> Iterator[str]:
    for cost in found.costs:
        base, own = cost.baseline, cost.method
        of_steps = f"{base.steps / own.steps:.2f}"
        of_prompts, of_hours = f"{base.prompts / own.prompts:.2f}", f"{base.hours / own.hours:.2f}"
        printed = (f"{cost.prompts_ratio:.2f}", f"{cost.hours_ratio:.2f}")
        if of_steps != printed[0]:
            yield f"{cost.model}: {base.steps} over {own.steps} steps give {of_steps}, printed is {printed[0]}."
        if of_prompts != printed[0] == of_steps:
            yield (
                f"{cost.model}: the printed prompts, {base.prompts:,.0f} over {own.prompts:,.0f}, give {of_prompts}; "
                f"the printed ratio {printed[0]} follows from the steps behind them, {base.steps} over {own.steps}."
            )
        if of_hours != printed[1]:
            excuse = "; hours that were rounded to 0.1 can have that ratio" if _within_rounding(cost) else ""
            hours = f"{base.hours:.2f} over {own.hours:.2f} hours give {of_hours}"
            yield f"{cost.model}: {hours}, printed is {printed[1]}{excuse}."


def _within_rounding(cost: PublishedCost) -> bool:
    """Return True if hours that round to the printed ones at one decimal can have the printed ratio."""
    low = (cost.baseline.hours - 0.05) / (cost.method.hours + 0.05)
    high = (cost.baseline.hours + 0.05) / (cost.method.hours - 0.05)
    return low - 0.005 <= cost.hours_ratio <= high + 0.005
