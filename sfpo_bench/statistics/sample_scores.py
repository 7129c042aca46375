"""Scores of one problem from its samples: avg@k, pass@k, maj@k. Every one lies in [0, 1]; None where it is not defined.

A sample's answer class is a number: 0 for an answer equal to the gold one, 1, 2, … for the other answers, equal answers
sharing a number, and `NO_ANSWER` for a sample without an answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

CORRECT = 0
NO_ANSWER = -1


def avg_at_k(classes: Sequence[int], k: int) -> float | None:
    """The share of correct answers among the first k samples; None when there are fewer."""
    if not 1 <= k <= len(classes):
        return None
    return sum(one == CORRECT for one in classes[:k]) / k


def pass_at_k(classes: Sequence[int], k: int) -> float | None:
    """The chance that k of the n samples, drawn without replacement, hold a correct one (Chen et al. 2021).

        pass@k = 1 - C(n - c, k) / C(n, k),      c correct among n

    Unbiased for the chance of k fresh samples. None for k > n: n samples do not tell.
    """
    n = len(classes)
    if not 1 <= k <= n:
        return None
    wrong = n - sum(one == CORRECT for one in classes)
    return 1 - math.comb(wrong, k) / math.comb(n, k)


def maj_at_k(classes: Sequence[int], k: int) -> float | None:
    """Whether the most frequent answer of the first k samples is correct; None when there are fewer.

    Samples without an answer do not vote. Of t answers that are most frequent together, a correct one counts 1/t.
    Without any vote the score is 0.
    """
    if not 1 <= k <= len(classes):
        return None
    votes = Counter(one for one in classes[:k] if one != NO_ANSWER)
    if not votes:
        return 0.0
    most = max(votes.values())
    winners = [answer for answer, count in votes.items() if count == most]
    return (CORRECT in winners) / len(winners)
