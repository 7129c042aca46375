"""Test every pair of many arms over the same seeds, and group the arms that no test tells apart.

Two arms are tested with a paired t test of their scores by seed. Equal seeds see the same problems in the same order,
so the effect of a seed cancels. The p-values of all pairs are adjusted by Holm's method. An order of the arms by their
means would rank noise. Tie groups are shown instead: the longest sequences of neighbours in that order in which no pair
is told apart. An arm may be in several groups: a and c can be told apart while b is told apart from neither.

The groups do not show every pair. Differences of some pairs vary less than those of others, so two neighbours can be
told apart while a more distant pair is not. That pair then shares no group. A compact letter display, whose sets ignore
the order, would show each pair, but it needs 50 groups for 30 arms with such pairs.
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
class DifferenceOfArms:
    """The mean of `first - second` over the `n` common seeds, with Student's interval and two-sided p-value.

    Values are None if there are too few seeds. `adjusted_p` is adjusted by Holm over all pairs. `detectable` is the
    smallest true difference that is found with 80 % power at level 0.05 / pairs, Holm's level for the smallest p.
    """

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
        """True if the two arms were told apart."""
        return self.adjusted_p <= 1 - CONFIDENCE


def paired_differences(scores: Mapping[str, Mapping[int, float]]) -> list[DifferenceOfArms]:
    """Return the difference of every pair of arms, in the order of the arms, from the scores of each arm by seed.

    Pairs without a common seed are left out. A pair with fewer than `FEWEST_SEEDS` common seeds has no p-value; Holm's
    adjustment counts it with p = 1.
    """
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
    """Return the longest sequences of neighbours in `order` without a pair of `separated`. Groups may overlap."""
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
    """Return the letters of an arm's groups, which are consecutive: `a`, `bc`, `b-e`. The letter after z is aa."""
    found = [group_letter(number) for number, group in enumerate(groups) if arm in group]
    short = len(found) <= 2 and all(len(one) == 1 for one in found)
    return "".join(found) if short else f"{found[0]}-{found[-1]}" if len(found) > 1 else found[0]


def detectable_difference(differences: Sequence[float], level: float) -> float | None:
    """Return the smallest mean difference that the paired t test at `level` finds with 80 % power.

    The standard deviation s is that of these differences. None for fewer than two differences, 0 if they are equal.

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


def _difference(first: str, second: str, values: Sequence[float], pairs: int) -> DifferenceOfArms:
    estimate, n = mean_interval(values), len(values)
    low, high = (None, None) if estimate.interval is None else (estimate.interval.low, estimate.interval.high)
    if n < FEWEST_SEEDS:
        return DifferenceOfArms(first, second, estimate.point, low, high, n, None)
    detectable = detectable_difference(values, (1 - CONFIDENCE) / pairs)
    return DifferenceOfArms(first, second, estimate.point, low, high, n, _paired_p(values), detectable=detectable)


def _paired_p(values: Sequence[float]) -> float:
    """Return Student's two-sided p-value for mean 0. For equal values it is 1 if they are 0, else 0."""
    mean, n = float(np.mean(values)), len(values)
    if len(set(values)) == 1:
        return 1.0 if values[0] == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / (float(np.std(values, ddof=1)) / math.sqrt(n))))


def group_letter(number: int) -> str:
    """Return the letter of a group by its number, from 0."""
    first, second = divmod(number, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + second)
