"""Many arms over the same seeds: every pair tested, and groups of arms that the tests cannot tell apart.

Two arms are tested by the differences of their scores seed by seed, with Student's t; equal seeds see the same problems
in the same order, so that what a seed has alike leaves the difference. The p-values of all pairs are adjusted together
by Holm. An order of the arms by their means would rank noise: what is shown instead are tie groups, the longest runs of
neighbours in that order in which no pair is told apart. An arm may be in several: a and c can be told apart while b can
be told from neither.

The groups do not say all of the pairs. Differences of some pairs vary less than those of others, so that two neighbours
can be told apart while a pair farther away is not: it then shares no group. Largest sets without regard to the order
(the letters of a compact letter display) would say each pair, and of 30 arms with such pairs make 50 groups.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.optimize import brentq
from scipy.special import nctdtr, stdtr, stdtrit

from sfpo_bench.statistics.intervals import CONFIDENCE, mean_interval
from sfpo_bench.statistics.multiplicity import holm_adjusted
from sfpo_bench.statistics.power import POWER
from sfpo_bench.statistics.verdicts import FEWEST_SEEDS

Pair = frozenset[str]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean of `first - second` over the `n` seeds that both have, with Student's interval and two-sided p-value; None
    where the seeds are too few. `adjusted_p` is Holm's over all pairs. `detectable` is the smallest true difference
    that a test at 0.05 over the number of pairs, which Holm's smallest p meets, would find with 80 % power."""

    first: str
    second: str
    point: float
    low: float | None
    high: float | None
    n: int
    p_value: float | None
    adjusted_p: float = 1.0
    detectable: float | None = None

    @property
    def separated(self) -> bool:
        """True when the two were told apart."""
        return self.adjusted_p <= 1 - CONFIDENCE


def paired_differences(scores: Mapping[str, Mapping[int, float]]) -> list[PairedDifference]:
    """Every pair of arms, from the scores of each by seed, in the order of the arms; those without a common seed are
    left out. A pair with fewer than `FEWEST_SEEDS` common seeds has no p-value, and counts in the family with 1."""
    pairs = list(combinations(scores, 2))
    common = {pair: sorted(scores[pair[0]].keys() & scores[pair[1]].keys()) for pair in pairs}
    values = {
        pair: [scores[pair[0]][seed] - scores[pair[1]][seed] for seed in seeds]
        for pair, seeds in common.items()
        if seeds
    }
    found = [_difference(first, second, own, len(values)) for (first, second), own in values.items()]
    adjusted = holm_adjusted([1.0 if one.p_value is None else one.p_value for one in found])
    return [replace(one, adjusted_p=p) for one, p in zip(found, adjusted, strict=True)]


def tie_groups(order: Sequence[str], separated: Collection[Pair]) -> list[tuple[str, ...]]:
    """The longest runs of neighbours in `order` in which no pair is in `separated`; every arm is in one or more."""
    groups: list[tuple[str, ...]] = []
    start = 0
    for end in range(len(order)):
        first = next(
            (place for place in range(end - 1, start - 1, -1) if Pair((order[place], order[end])) in separated), None
        )
        if first is not None:
            groups.append(tuple(order[start:end]))
            start = first + 1
    return [*groups, tuple(order[start:])] if order else []


def letters(groups: Sequence[Collection[str]], arm: str) -> str:
    """`a`, `bc`, `b-e`: the letters of the groups that an arm is in, which follow each other; behind z come aa, ab."""
    found = [group_letter(number) for number, group in enumerate(groups) if arm in group]
    short = len(found) <= 2 and all(len(one) == 1 for one in found)
    return "".join(found) if short else f"{found[0]}-{found[-1]}" if len(found) > 1 else found[0]


def detectable_difference(differences: Sequence[float], level: float) -> float | None:
    """The smallest mean difference that the paired t test at `level` finds with 80 % power, were the standard deviation
    of the differences that of these; None for fewer than two, 0 where they do not vary.

        P( |T| > t(n - 1; level) ) = 0.8,     T noncentral t with sqrt(n) * difference / s
    """
    n = len(differences)
    if n < 2:
        return None
    spread = float(np.std(differences, ddof=1))
    if spread == 0 or len(set(differences)) == 1:
        return 0.0
    critical = float(stdtrit(n - 1, 1 - level / 2))

    def lacking(effect: float) -> float:
        return float(nctdtr(n - 1, effect, critical)) - (1 - POWER)

    high = critical + 1.0
    while lacking(high) > 0:
        high *= 2
    return float(brentq(lacking, 0.0, high)) * spread / math.sqrt(n)


def _difference(first: str, second: str, values: Sequence[float], pairs: int) -> PairedDifference:
    estimate, n = mean_interval(values), len(values)
    low, high = (None, None) if estimate.interval is None else (estimate.interval.low, estimate.interval.high)
    if n < FEWEST_SEEDS:
        return PairedDifference(first, second, estimate.point, low, high, n, None)
    detectable = detectable_difference(values, (1 - CONFIDENCE) / pairs)
    return PairedDifference(first, second, estimate.point, low, high, n, _paired_p(values), detectable=detectable)


def _paired_p(values: Sequence[float]) -> float:
    """Student's two-sided p-value of mean 0; of values that do not vary 1 where they are 0, else 0."""
    mean, n = float(np.mean(values)), len(values)
    if len(set(values)) == 1:
        return 1.0 if values[0] == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / (float(np.std(values, ddof=1)) / math.sqrt(n))))


def group_letter(number: int) -> str:
    """The letter of the group in that place, from 0."""
    first, second = divmod(number, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + second)
