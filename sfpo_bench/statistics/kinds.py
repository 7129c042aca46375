"""Detects costs of an arm's seeds that form two clusters, for which the t interval of their mean is not valid.

If 20 % of seeds are three times slower, Student's interval of the mean log cost covers 75 to 89 % (3 to 10 seeds): the
few slow seeds in a sample tell little about their share. The test takes the widest gap between neighbours of the
sorted costs. It reports two clusters if they are

    a factor `GAP` or more apart, and `SPREADS` or more standard deviations inside the two groups

apart. With fewer than three seeds it reports none. The statement is then a bound from the larger cluster: if that is
the fast one, all other seeds cost more; if it is the slow one, they cost less. docs/protocol.md has the error rates,
also for lognormal samples. A cluster that none of the runs belongs to cannot be detected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GAP = 1.7
SPREADS = 2.0
FEWEST = 3


@dataclass(frozen=True, slots=True)
class TwoKinds:
    """The costs on either side of the gap."""

    fast: tuple[float, ...]
    slow: tuple[float, ...]

    @property
    def mostly_fast(self) -> bool:
        """Return True if the fast seeds are at least as many as the slow ones."""
        return len(self.fast) >= len(self.slow)

    @property
    def larger(self) -> tuple[float, ...]:
        """Return the costs of the larger cluster; the fast one if both are equal in size."""
        return self.fast if self.mostly_fast else self.slow


def two_kinds(costs: Sequence[float]) -> TwoKinds | None:
    """Return the two clusters that positive costs form, or None. Independent of the unit of cost."""
    if len(costs) < FEWEST:
        return None
    ordered = sorted(costs)
    logs = np.log(np.asarray(ordered, dtype=np.float64))
    gaps = np.diff(logs)
    at = int(gaps.argmax()) + 1
    inside = sum(float(np.square(group - group.mean()).sum()) for group in (logs[:at], logs[at:]))
    spread = math.sqrt(inside / (len(ordered) - 2))
    if gaps[at - 1] < math.log(GAP) or gaps[at - 1] < SPREADS * spread:
        return None
    return TwoKinds(tuple(ordered[:at]), tuple(ordered[at:]))
