"""No mutant of a gold is accepted that an independent check finds unequal, and no rewrite of one is rejected."""

from __future__ import annotations

import random
import re

import pytest

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading import Grader, Pair
from tests.grading.variants import equal_by_sympy, golds, mutants, rewrites
from tests.problem_sets.shared_data import needs_shared_data

EVALUATION = [
    f"eval/{name}"
    for name in (
        "math500", "aime24", "aime25", "aime26", "amc23", "amc_aimo83", "minerva", "olympiadbench", "gsm8k_test",
        "hmmt_feb24", "hmmt_feb25", "cmimc24", "olymmath_en_easy", "olymmath_en_hard",
    )
]  # fmt: skip
TRAINING = ["train/math_train", "train/deepmath_5k", "train/deepscaler_sub1209"]

pytestmark = needs_shared_data

# Golds that are sentences, or that no reader knows: they equal themselves as text.
UNREAD = re.compile(r"where|\\mho|in base|\\text\{[^}]*\s[^}]*\s[^}]*\}|pairs|\\ker|<\\kappa")


def same_by_hand(kind: str, gold: str, mutant: str) -> bool:
    """What sympy cannot tell and is the same: a value behind the letter of a choice, multiples of zero, the end of an
    interval at infinity, delimiters of formulas, an answer that repeats a member of a set."""
    behind_or_before = (
        "{}977",
        "977{}",
        "-{}",
        "-({})",
        r"{}\text{{ million}}",
        r"{}\text{{ dozen}}",
        r"\frac{{1}}{{2}}({})",
    )
    if kind in behind_or_before:
        return re.search(r"(?<![\d.])0(?![.\d])|^\\text\{\([A-J]\)\}$|^\(?[A-J]\)?$", gold) is not None
    if kind == r"\frac to \binom":
        return gold == r"\frac{1 - (-1)^n}{2}"  # 0 or 1, and so is the other for every whole n
    if r"\(" in gold:
        return kind in ("( to [", ") to ]")
    if kind in ("( to [", ") to ]"):
        return r"\infty" in gold
    return kind == "{}, 977" and "977" in gold


def wrongly_accepted(chosen: list[str], grader: Grader, seed: int) -> tuple[int, int, list[str]]:
    """(mutants tried, accepted, those accepted that are not equal)."""
    draw = random.Random(seed)
    tried = [(kind, gold, mutant) for gold in chosen for kind, mutant in mutants(gold, draw) if mutant != gold]
    grades = grader.grade_many([Pair(gold, rf"Thus \boxed{{{mutant}}}") for _, gold, mutant in tried])
    accepted = [row for row, grade in zip(tried, grades, strict=True) if grade.status is GradeStatus.correct]
    assert not any(grade.status in (GradeStatus.timeout, GradeStatus.error) for grade in grades)
    wrong = [row for row in accepted if not same_by_hand(*row) and not equal_by_sympy(row[1], row[2])]
    return len(tried), len(accepted), [" | ".join(row) for row in wrong]


def wrongly_rejected(chosen: list[str], grader: Grader, seed: int) -> tuple[int, list[str]]:
    """(rewrites tried, those rejected)."""
    draw = random.Random(seed)
    tried = [(kind, gold, response) for gold in chosen for kind, response in rewrites(gold, draw)]
    grades = grader.grade_many([Pair(gold, response) for _, gold, response in tried])
    rejected = [row for row, grade in zip(tried, grades, strict=True) if grade.status is not GradeStatus.correct]
    return len(tried), [" | ".join(row) for row in rejected]


def sample(names: list[str], count: int, seed: int) -> list[str]:
    found = [gold for gold in golds(*names) if not UNREAD.search(gold)]
    return random.Random(seed).sample(found, min(count, len(found)))


def test_mutants_of_some_golds_are_wrong_unless_sympy_finds_them_equal(grader: Grader) -> None:
    tried, accepted, wrong = wrongly_accepted(sample([*EVALUATION, *TRAINING], 120, 1), grader, 1)
    print(f"{tried} mutants, {accepted} accepted, {len(wrong)} of them wrongly")
    assert tried > 2_000 and not wrong


def test_rewrites_of_some_golds_are_correct(grader: Grader) -> None:
    tried, rejected = wrongly_rejected(sample([*EVALUATION, *TRAINING], 150, 2), grader, 2)
    print(f"{tried} rewrites, {len(rejected)} rejected")
    assert tried > 2_000 and not rejected


@pytest.mark.slow
def test_mutants_of_every_gold_are_wrong_unless_sympy_finds_them_equal(grader: Grader) -> None:
    chosen = sample(EVALUATION, 100_000, 3) + sample(TRAINING, 1_500, 3)
    tried, accepted, wrong = wrongly_accepted(chosen, grader, 3)
    print(f"{len(chosen)} golds, {tried} mutants, {accepted} accepted, {len(wrong)} of them wrongly")
    assert not wrong


@pytest.mark.slow
def test_rewrites_of_every_gold_are_correct(grader: Grader) -> None:
    chosen = sample(EVALUATION, 100_000, 4) + sample(TRAINING, 1_500, 4)
    tried, rejected = wrongly_rejected(chosen, grader, 4)
    print(f"{len(chosen)} golds, {tried} rewrites, {len(rejected)} rejected")
    assert not rejected
