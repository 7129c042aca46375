"""Scores of one problem from its samples: avg@k, pass@k, maj@k, pass^k, G-Pass@k and its mean.

Every one lies in [0, 1]; None where it is not defined. c of the n samples are correct.

A sample's answer class is a number: 0 for an answer equal to the gold one, 1, 2, … for the other answers, equal answers
sharing a number, and `NO_ANSWER` for a sample without an answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

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


def pass_all_at_k(classes: Sequence[int], k: int) -> float | None:
    """pass^k, the chance that k of the n samples, drawn without replacement, are all correct (Yao et al. 2024).

        pass^k = C(c, k) / C(n, k)

    Unbiased for the chance that k fresh samples are all correct. None for k > n.
    """
    return g_pass_at_k(classes, k, Fraction(1))


def g_pass_at_k(classes: Sequence[int], k: int, tau: Fraction) -> float | None:
    """G-Pass@k of tau: the chance that of k samples, drawn without replacement, at least tau k are correct (Liu et al.
    2024, arXiv 2412.13147).

        G-Pass@k(tau) = sum over j >= tau k of  C(c, j) C(n - c, k - j) / C(n, k),      0 < tau <= 1

    pass^k for tau = 1 and pass@k for tau <= 1 / k. None for k > n.
    """
    if not 1 <= k <= len(classes):
        return None
    ways = _ways(classes, k)
    return sum(ways[math.ceil(tau * k) :]) / sum(ways)


def mg_pass_at_k(classes: Sequence[int], k: int) -> float | None:
    """mG-Pass@k, the mean of G-Pass@k over tau from 1/2 to 1: 2 times its integral. None for k > n.

        mG-Pass@k = sum over j > k / 2 of  (2 j / k - 1) P(j of the k are correct)

    The paper's sum over tau = i / k from ceil(k / 2) + 1 on is this integral for even k; for odd k it leaves out half a
    step, and for k = 1 all there is.
    """
    if not 1 <= k <= len(classes):
        return None
    ways = _ways(classes, k)
    return sum(max(0, 2 * j - k) * count for j, count in enumerate(ways)) / (k * sum(ways))


def _ways(classes: Sequence[int], k: int) -> list[int]:
    """In how many ways k of the samples can be chosen so that j of them are correct, for j = 0 to k."""
    correct = sum(one == CORRECT for one in classes)
    wrong = len(classes) - correct
    return [math.comb(correct, j) * math.comb(wrong, k - j) for j in range(k + 1)]
