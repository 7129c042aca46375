"""Every file of `evaluations/` is read, and what it says of the data is true where the data is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.resources import carried
from sfpo_bench.core.types import Problem
from sfpo_bench.grading import shared_grader
from sfpo_bench.problems.card import Card, read_entry
from sfpo_bench.problems.sets import (
    AnswerType,
    DataSettings,
    Role,
    card,
    known_sets,
    load_problem_set,
    overlaps,
    prompt_template,
    suite,
)
from tests.problem_sets.shared_data import SHARED, needs_shared_data

SETS = [*known_sets("benchmarks"), *known_sets("training_sets")]
SHIPPED = sorted(path.stem for path in (carried("evaluations") / "problems").glob("*.jsonl"))


@pytest.mark.parametrize("name", SETS)
def test_every_card_names_a_prompt_and_a_licence(name: str) -> None:
    known = card(name)
    assert known.name == name and known.rows > 0 and len(known.content_sha256) == 64
    assert known.licence and known.released[:4].isdigit()
    assert prompt_template(known.prompt).name == known.prompt
    assert known.tolerance >= 0 and all(error.note for error in known.label_errors)


def test_the_papers_six_and_every_set_of_the_field_have_a_card() -> None:
    assert {entry.name for entry in suite("paper").benchmarks} == {
        *("math500", "aime24", "aime25", "amc_aimo83", "minerva", "olympiadbench")
    }
    sizes = {"math500": 500, "aime24": 30, "aime25": 30, "aime26": 30, "amc23": 40, "amc_aimo83": 83, "minerva": 272}
    sizes |= {"olympiadbench": 675, "gsm8k_test": 1319, "hmmt_feb24": 30, "hmmt_feb25": 30, "cmimc24": 30}
    sizes |= {"olymmath_en_easy": 100, "olymmath_en_hard": 100, "countdown_test": 2001}
    assert {name: card(name).rows for name in sizes} == sizes


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_problems_are_what_their_card_says(name: str) -> None:
    assert load_problem_set(name, DataSettings()).verified


def test_no_benchmark_is_both_for_choosing_and_for_reporting() -> None:
    roles: dict[str, set[Role]] = {}
    for name in known_sets("suites"):
        for entry in suite(name).benchmarks:
            roles.setdefault(entry.name, set()).add(suite(name).role)
    assert all(len(found) == 1 for found in roles.values())


def test_a_mistyped_key_of_a_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("title: x\nlicense: MIT\n")
    with pytest.raises(ConfigError, match=r"own.yaml.*license"):
        read_entry(tmp_path / "own.yaml", Card)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="did you mean math500"):
        suite("maths500")


@needs_shared_data
@pytest.mark.parametrize("name", [name for name in SETS if name not in SHIPPED])
def test_real_sets_are_what_their_cards_say(name: str) -> None:
    assert load_problem_set(name, DataSettings(str(SHARED))).verified


@needs_shared_data
def test_label_errors_and_tolerances_name_problems_that_exist() -> None:
    for name in SETS:
        ids = {problem.id for problem in load_problem_set(name, DataSettings(str(SHARED))).problems}
        assert {*card(name).tolerances, *(error.id for error in card(name).label_errors)} <= ids


# A Countdown gold is numbers and a target; the card of deepmath_5k counts what the grader cannot read, and names none.
MATHEMATICAL = [
    name
    for name in SETS
    if name not in SHIPPED and name != "deepmath_5k" and card(name).answer_type is not AnswerType.countdown
]


@needs_shared_data
@pytest.mark.slow
@pytest.mark.parametrize("name", MATHEMATICAL)
def test_the_grader_reads_every_gold_but_those_its_card_names(name: str) -> None:
    problems = load_problem_set(name, DataSettings(str(SHARED))).problems
    readable = shared_grader().readable_many([problem.answer for problem in problems])
    unread = {problem.id for problem, good in zip(problems, readable, strict=True) if not good}
    assert unread == {error.id for error in card(name).label_errors if "cannot read" in error.note}


def real(names: list[str]) -> list[Problem]:
    return [p for name in names for p in load_problem_set(name, DataSettings(str(SHARED))).problems]


@needs_shared_data
def test_overlaps_of_real_sets_are_those_found_by_others() -> None:
    listed = json.loads((SHARED / "overlaps.json").read_text())
    expected = {(one["eval_id"], one["train_id"]) for one in listed}
    benchmarks = [
        name for name in known_sets("benchmarks") if name not in (*SHIPPED, "math_test4500", "countdown_test")
    ]
    training = [name for name in [*known_sets("training_sets"), "math_test4500"] if name != "countdown_train"]
    found = overlaps(real(benchmarks), real(training))
    assert {(one.evaluation_id, one.training_id) for one in found} == expected and len(expected) == 74
    other = {(one.evaluation_id, one.training_id) for one in found if not one.same_answer}
    assert {("olympiadbench/38", "dapo17k/127"), ("hmmt_feb24/11", "dapo17k/1717")} <= other


@needs_shared_data
def test_problems_for_choosing_stand_in_no_suite_for_reporting() -> None:
    entries = {
        role: [e for n in known_sets("suites") if suite(n).role is role for e in suite(n).benchmarks] for role in Role
    }
    left_out = {one for entry in entries[Role.select] for one in entry.leave_out}
    choosing = [p for p in real([entry.name for entry in entries[Role.select]]) if p.id not in left_out]
    assert overlaps(choosing, real([entry.name for entry in entries[Role.report]])) == ()
