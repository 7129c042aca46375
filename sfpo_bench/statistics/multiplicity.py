"""Corrections for multiple tests."""

from __future__ import annotations

from collections.abc import Sequence


def holm_adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values with Holm's step-down adjustment (Holm 1979), in the order given.

        p_(1) <= ... <= p_(m):      adjusted p_(i) = max over j <= i of  min(1, (m - j + 1) * p_(j))

    Rejecting those at or below a level bounds the probability of any false rejection by that level, under any
    dependence.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)
