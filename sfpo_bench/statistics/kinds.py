"""Do the costs of an arm's seeds fall into two kinds? Then the t interval of their mean is not to be trusted.

Where 20 % of seeds are three times slower, Student's interval of the mean log cost covers 75 to 89 % (3 to 10 seeds):
the few slow seeds that are seen say little of how many there are. The test looks at the widest gap between neighbours
of the sorted costs and calls two kinds what lies

    a factor `GAP` or more apart, and `SPREADS` or more standard deviations inside the two groups

apart. Below three seeds it calls none. What may then be said is a bound from the larger group alone: where it is the
fast one all other seeds cost more, where it is the slow one they cost less. How often that is right, and how often a
lognormal sample is called two kinds by chance, stands in docs/protocol.md. Seeds of a kind that none of the runs showed
cannot be seen.
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
        """True when the fast ones are as many as the slow ones, or more."""
        return len(self.fast) >= len(self.slow)

    @property
    def larger(self) -> tuple[float, ...]:
        """The costs of the group that has more seeds; of equal ones the fast."""
        return self.fast if self.mostly_fast else self.slow


def two_kinds(costs: Sequence[float]) -> TwoKinds | None:
    """The two kinds that positive costs fall into, or None. A change of unit changes nothing."""
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
