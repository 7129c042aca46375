"""avg@k, pass@k and maj@k against their definitions, counted out."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from sfpo_bench.statistics.sample_scores import NO_ANSWER, avg_at_k, maj_at_k, pass_at_k

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


@pytest.mark.parametrize("score", [avg_at_k, pass_at_k, maj_at_k])
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
