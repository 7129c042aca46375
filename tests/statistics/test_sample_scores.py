"""avg@k, pass@k, maj@k, pass^k and G-Pass@k against their definitions, counted out."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest

from sfpo_bench.statistics.sample_scores import (
    NO_ANSWER,
    avg_at_k,
    g_pass_at_k,
    maj_at_k,
    mg_pass_at_k,
    pass_all_at_k,
    pass_at_k,
)

SMALL = [classes for n in (1, 2, 3, 4) for classes in product((NO_ANSWER, 0, 1, 2), repeat=n)]


def test_pass_at_k_is_the_share_of_all_choices_of_k_that_hold_a_correct_one() -> None:
    for classes in SMALL:
        for k in range(1, len(classes) + 1):
            choices = list(combinations(classes, k))
            assert pass_at_k(classes, k) == pytest.approx(sum(0 in chosen for chosen in choices) / len(choices))


def test_pass_at_k_of_many_samples_does_not_overflow() -> None:
    classes = [0] * 3 + [1] * 5000
    assert pass_at_k(classes, 2500) == pytest.approx(1 - 0.5**3, abs=1e-3)


def test_maj_at_k_counts_votes_and_shares_ties() -> None:
    """Slow reference: the expected score when one of the most frequent answers is drawn at random."""
    for classes in SMALL:
        votes = [one for one in classes if one != NO_ANSWER]
        top = [one for one in sorted(set(votes)) if votes.count(one) == max(map(votes.count, votes))]
        expected = sum(one == 0 for one in top) / len(top) if top else 0.0
        assert maj_at_k(classes, len(classes)) == expected


def test_examples() -> None:
    assert maj_at_k([1, 0, 0, 2], 4) == 1.0
    assert maj_at_k([1, 0, 0, 1], 4) == 0.5
    assert maj_at_k([2, 1, 0], 3) == pytest.approx(1 / 3)
    assert maj_at_k([NO_ANSWER, NO_ANSWER, NO_ANSWER, 0], 4) == 1.0
    assert avg_at_k([0, 1, NO_ANSWER, 0], 4) == 0.5 and avg_at_k([0, 1, 1, 1], 1) == 1.0


# c of n samples are correct, up to 7: all that the scores below know of them.
COUNTED = [[0] * c + [1] * (n - c) for n in range(1, 8) for c in range(n + 1)]
TAUS = [Fraction(step, 20) for step in range(1, 21)]


def correct_of_choices(classes: list[int], k: int) -> list[int]:
    """How many of the k are correct, for every choice of k samples."""
    return [sum(one == 0 for one in chosen) for chosen in combinations(classes, k)]


def test_g_pass_at_k_is_the_share_of_all_choices_of_k_with_so_many_correct_ones() -> None:
    for classes in COUNTED:
        for k in range(1, len(classes) + 1):
            found = correct_of_choices(classes, k)
            for tau in TAUS:
                exact = Fraction(sum(one >= tau * k for one in found), len(found))
                assert g_pass_at_k(classes, k, tau) == float(exact), (classes, k, tau)
            assert pass_all_at_k(classes, k) == float(Fraction(sum(one == k for one in found), len(found)))
            assert g_pass_at_k(classes, k, Fraction(1, k)) == pytest.approx(pass_at_k(classes, k), abs=1e-15)


def test_mg_pass_at_k_is_twice_the_integral_of_g_pass_and_the_papers_sum_for_even_k() -> None:
    """Between multiples of 1 / k nothing changes, so that steps of 1 / (2 k) give the integral exactly."""
    for classes in COUNTED:
        for k in range(1, len(classes) + 1):
            found = correct_of_choices(classes, k)
            steps = [Fraction(step, 2 * k) for step in range(k + 1, 2 * k + 1)]
            shares = [Fraction(sum(one >= tau * k for one in found), len(found)) for tau in steps]
            assert mg_pass_at_k(classes, k) == float(2 * sum(shares) / (2 * k))
            if k % 2 == 0:
                taus = [Fraction(i, k) for i in range(k // 2 + 1, k + 1)]
                paper = [Fraction(sum(one >= tau * k for one in found), len(found)) for tau in taus]
                assert mg_pass_at_k(classes, k) == float(2 * sum(paper) / k)


def test_all_k_right_is_unbiased_where_the_share_of_problems_with_n_right_of_n_is_not() -> None:
    """Over every outcome of n = 6 samples that are correct with chance p, in exact fractions: E pass^k = p^k."""
    n, p = 6, Fraction(2, 5)
    for k in range(1, n + 1):
        mean = sum(
            p ** sum(drawn) * (1 - p) ** (n - sum(drawn)) * Fraction(pass_all_at_k([1 - one for one in drawn], k) or 0)
            for drawn in product((0, 1), repeat=n)
        )
        assert float(mean) == pytest.approx(float(p**k), abs=1e-14)


def test_a_threshold_that_is_a_whole_number_of_samples_is_that_number() -> None:
    """0.55 * 100 is 55.00000000000001 in floating point, and 56 rounded up."""
    classes = [0] * 55 + [1] * 45
    assert g_pass_at_k(classes, 100, Fraction(55, 100)) == 1.0 and g_pass_at_k(classes, 100, Fraction(56, 100)) == 0.0


@pytest.mark.parametrize(
    "score",
    [avg_at_k, pass_at_k, maj_at_k, pass_all_at_k, mg_pass_at_k, lambda one, k: g_pass_at_k(one, k, Fraction(1, 2))],
)
def test_more_samples_than_there_are_have_no_score(score: object) -> None:
    assert callable(score)
    assert score([0, 0, 1], 4) is None and score([0, 0, 1], 0) is None and score([], 1) is None


def test_pass_at_k_is_unbiased_and_that_of_all_samples_is_not_pass_at_one() -> None:
    random = np.random.default_rng(0)
    solved = random.random((4000, 8)) < 0.2
    found = [pass_at_k([0 if one else 1 for one in row], 4) for row in solved.tolist()]
    assert np.mean([one for one in found if one is not None]) == pytest.approx(1 - 0.8**4, abs=0.01)


def test_every_score_at_one_is_the_share_of_correct_answers() -> None:
    for classes in SMALL:
        assert pass_at_k(classes, 1) == pytest.approx(avg_at_k(classes, len(classes)))
        assert maj_at_k(classes, 1) == avg_at_k(classes, 1)
        share = avg_at_k(classes, len(classes))
        assert pass_all_at_k(classes, 1) == mg_pass_at_k(classes, 1) == g_pass_at_k(classes, 1, Fraction(1, 2)) == share
