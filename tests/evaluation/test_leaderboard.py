"""Arms by their scores: the pairs, their p-values and the groups, against the paired tests they are made of."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from sfpo_bench.evaluation.leaderboard import Leaderboard, leaderboard, leaderboard_blocks, write_leaderboard
from sfpo_bench.evaluation.scores import ScoredArm, arm_scores, differences
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.statistics import holm_adjusted
from tests.evaluation.test_scores import arm

CHANCES = {"math500": 0.5, "aime24": 0.1}


def board(arms: list[ScoredArm], metric: str = "avg", k: int = 4) -> Leaderboard:
    found = leaderboard(arms, metric, k)
    assert found is not None
    return found


def test_pairs_are_those_of_the_differences_and_holm_is_over_all_of_them() -> None:
    arms = [
        arm(name, {"math500": chance}, (draw,))
        for draw, (name, chance) in enumerate((("a", 0.2), ("b", 0.5), ("c", 0.55)))
    ]
    found = board(arms)
    by_name = {one.name: one for one in arms}
    assert [name for name, _ in found.places] == ["c", "b", "a"]
    alone = [differences(by_name[one.better], by_name[one.other], "avg", 4)["math500"] for one in found.pairs]
    assert [one.p_value for one in found.pairs] == [one.p_value for one in alone]
    assert [one.difference for one in found.pairs] == [one.mean for one in alone] and min(
        one.mean for one in alone
    ) >= 0
    assert tuple(one.adjusted_p for one in found.pairs) == holm_adjusted([one.p_value for one in found.pairs])
    assert found.groups == (("c", "b"), ("a",))
    for (name, score), own in zip(found.places, ("c", "b", "a"), strict=True):
        assert name == own and score == arm_scores(by_name[name], "avg", 4)["math500"]


def test_two_arms_share_a_group_exactly_when_no_test_told_them_apart() -> None:
    arms = [arm(str(number), {"math500": 0.1 + 0.07 * number}, (number,)) for number in range(9)]
    found = board(arms)
    apart = {frozenset((one.better, one.other)): one.told_apart for one in found.pairs}
    assert set(apart.values()) == {True, False}
    assert all(one.told_apart is (one.adjusted_p <= 0.05) for one in found.pairs)
    assert any(one.p_value <= 0.05 < one.adjusted_p for one in found.pairs)  # told apart were it the only pair
    for pair in map(frozenset, combinations([one.name for one in arms], 2)):
        assert any(pair <= set(group) for group in found.groups) is not apart[pair]


def test_one_model_under_three_names_is_one_group() -> None:
    arms = [ScoredArm(name, arm(name, CHANCES, (7,)).evaluations) for name in "abc"]
    found = board(arms)
    assert found.groups == (("a", "b", "c"),) and {one.adjusted_p for one in found.pairs} == {1.0}


def test_only_what_all_arms_have_counts() -> None:
    """A third benchmark of one arm, and a half of the problems of another, leave the board as it was."""
    arms = [arm("a", CHANCES, (1,)), arm("b", CHANCES, (2,))]
    more = [arm("a", CHANCES, (1,)), arm("b", CHANCES | {"minerva": 0.9}, (2,))]
    assert board(arms).places == board(more).places and board(more).benchmarks == ("math500", "aime24")
    assert leaderboard([arm("a", {"x": 0.5}), arm("b", {"y": 0.5})], "avg", 4) is None
    assert leaderboard(arms[:1], "avg", 4) is None and leaderboard(arms, "avg", 5) is None


@pytest.mark.parametrize("metric", ["pass_all", "g_pass_0.5"])
def test_arms_are_ranked_by_any_score(metric: str) -> None:
    """One that is always half right and one that solves half the problems have one mean, and not one pass^k."""
    steady, sure = arm("steady", {"math500": 0.5}), arm("sure", {"math500": 0.5})
    problems = [np.where(np.arange(4) < 2, 0, 1)] * 40, [np.full(4, number % 2) for number in range(40)]
    for one, classes in zip((steady, sure), problems, strict=True):
        sheet = one.evaluations[0].graded["math500"]
        for problem, row in zip(sheet.problems, classes, strict=True):
            object.__setattr__(problem, "classes", tuple(row.tolist()))
    by_mean = board([steady, sure])
    assert [score.mean for _, score in by_mean.places] == [0.5, 0.5] and len(by_mean.groups) == 1
    found = dict(board([steady, sure], metric).places)
    assert found["sure"].mean == 0.5 and found["steady"].mean == (0.0 if metric == "pass_all" else 1.0)


def test_it_is_written_in_three_forms_with_every_name_as_it_is(tmp_path: Path) -> None:
    found = board(
        [arm("a_1 & b", CHANCES, (1,)), arm("<c>", CHANCES, (2,)), arm("d", {"math500": 0.99, "aime24": 0.9}, (3,))]
    )
    write_leaderboard(found, tmp_path)
    text = markdown(leaderboard_blocks(found))
    assert text == (tmp_path / "leaderboard.md").read_text()
    assert "of 3 pairs 2 were" in text and "| d | a |" in text
    assert r"1 \& b" in (tmp_path / "leaderboard.tex").read_text()
    page = (tmp_path / "leaderboard.html").read_text()
    assert "&lt;c&gt;" in page and "<c>" not in page
