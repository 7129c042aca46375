"""Scores of one problem from its samples: avg@k, pass@k, maj@k, pass^k, G-Pass@k and mG-Pass@k.

Every score is in [0, 1], or None if it is not defined. c of the n samples are correct.

A sample's answer class is 0 for an answer equal to the gold one, 1, 2, … for other answers (equal answers share a
number), and `NO_ANSWER` for a sample without an answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

CORRECT = 0
NO_ANSWER = -1


def avg_at_k(classes: Sequence[int], k: int) -> float | None:
    """Return the share of correct answers among the first k samples, or None if there are fewer."""
    if not 1 <= k <= len(classes):
        return None
    return sum(one == CORRECT for one in classes[:k]) / k


def mean_at_k(grades: Sequence[float], k: int) -> float | None:
    """Return the mean of the first k grades in [0, 1], which is avg@k for grades of 0 and 1, or None if too few."""
    return math.fsum(grades[:k]) / k if 1 <= k <= len(grades) else None


def pass_at_k(classes: Sequence[int], k: int) -> float | None:
    """Return the probability that k samples, drawn without replacement, include a correct one (Chen et al. 2021).

        pass@k = 1 - C(n - c, k) / C(n, k),      c correct among n

    Unbiased for the probability with k new samples. None for k > n.
    """
    n = len(classes)
    if not 1 <= k <= n:
        return None
    wrong = n - sum(one == CORRECT for one in classes)
    return 1 - math.comb(wrong, k) / math.comb(n, k)


def maj_at_k(classes: Sequence[int], k: int) -> float | None:
    """Return whether the most frequent answer of the first k samples is correct, or None if there are fewer.

    Samples without an answer do not vote. If t answers tie for the most votes, a correct one among them counts 1/t.
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


def pass_all_at_k(classes: Sequence[int], k: int) -> float | None:
    """Return pass^k, the probability that k samples, drawn without replacement, are all correct (Yao et al. 2024).

        pass^k = C(c, k) / C(n, k)

    Unbiased for the probability with k new samples. None for k > n.
    """
    return g_pass_at_k(classes, k, Fraction(1))


def g_pass_at_k(classes: Sequence[int], k: int, tau: Fraction) -> float | None:
    """Return G-Pass@k(tau), the probability that at least tau k of k samples drawn without replacement are correct.

        G-Pass@k(tau) = sum over j >= tau k of  C(c, j) C(n - c, k - j) / C(n, k),      0 < tau <= 1

    Equal to pass^k for tau = 1 and to pass@k for tau <= 1 / k. None for k > n (Liu et al. 2024, arXiv 2412.13147).
    """
    if not 1 <= k <= len(classes):
        return None
    ways = _ways(classes, k)
    return sum(ways[math.ceil(tau * k) :]) / sum(ways)


def mg_pass_at_k(classes: Sequence[int], k: int) -> float | None:
    """Return mG-Pass@k, the mean of G-Pass@k over tau from 1/2 to 1, which is 2 times its integral; None for k > n.

        mG-Pass@k = sum over j > k / 2 of  (2 j / k - 1) P(j of the k are correct)

    The paper's sum over tau = i / k from ceil(k / 2) + 1 on equals this integral for even k. For odd k it omits half a
    step, and for k = 1 everything.
    """
    if not 1 <= k <= len(classes):
        return None
    ways = _ways(classes, k)
    return sum(max(0, 2 * j - k) * count for j, count in enumerate(ways)) / (k * sum(ways))


def _ways(classes: Sequence[int], k: int) -> list[int]:
    """Return the number of ways to choose k samples with j correct ones, for j = 0 to k."""
    correct = sum(one == CORRECT for one in classes)
    wrong = len(classes) - correct
    return [math.comb(correct, j) * math.comb(wrong, k - j) for j in range(k + 1)]
