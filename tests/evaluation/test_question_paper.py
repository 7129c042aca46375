"""Which problems an evaluation asks, and with which prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.question_paper import question_paper
from sfpo_bench.problems.sets import DataSettings, Suite, load_problem_set, suite
from sfpo_bench.problems.suites import Role, SuiteEntry
from tests.problem_sets.shared_data import SHARED, needs_shared_data

DATA = DataSettings()


def keys(problems: int) -> list[str]:
    [benchmark] = question_paper(suite("arithmetic"), DATA, problems=problems)
    return [question.key for question in benchmark.questions]


def test_a_smaller_part_lies_within_a_larger_one_and_all_is_all() -> None:
    assert set(keys(10)) < set(keys(30)) < set(keys(0)) == set(keys(1000))
    assert len(keys(10)) == 10 and len(keys(0)) == 100


def test_the_smaller_of_two_limits_holds() -> None:
    own = Suite("own", "own", Role.report, [SuiteEntry("arithmetic", problems=7)])
    assert len(question_paper(own, DATA)[0].questions) == 7
    assert len(question_paper(own, DATA, problems=3)[0].questions) == 3
    assert len(question_paper(own, DATA, problems=30)[0].questions) == 7


def test_what_a_suite_leaves_out_is_not_asked() -> None:
    own = Suite("own", "own", Role.report, [SuiteEntry("mixed", leave_out=["mixed/0", "mixed/3"])])
    ids = [question.problem.id for question in question_paper(own, DATA)[0].questions]
    assert len(ids) == 14 and not {"mixed/0", "mixed/3"} & set(ids)


@needs_shared_data
def test_the_order_of_the_source_does_not_choose_the_problems(tmp_path: Path) -> None:
    lines = (SHARED / "eval" / "amc23.jsonl").read_text().splitlines()
    (tmp_path / "amc23.jsonl").write_text("\n".join(reversed(lines)))
    papers = [question_paper(suite("amc23"), DataSettings(str(place)), problems=10) for place in (SHARED, tmp_path)]
    drawn = [{question.key for question in paper[0].questions} for paper in papers]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 10


def test_the_prompt_hash_changes_with_template_and_problem_alone() -> None:
    plain, other = (question_paper(suite("mixed"), DATA, prompt)[0] for prompt in ("", "hashes"))
    same = question_paper(suite("mixed"), DATA, "boxed")[0]  # what the card names
    hashes = [question.prompt_sha256 for question in plain.questions]
    assert len(set(hashes)) == len(hashes) == len(load_problem_set("mixed", DATA).problems)
    assert not set(hashes) & {question.prompt_sha256 for question in other.questions}
    assert hashes == [question.prompt_sha256 for question in same.questions]


def test_a_problem_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    rows = '{"problem": "What is 1 + 1?", "answer": "2"}\n{"problem": " What is  1 + 1?", "answer": "2"}\n'
    (tmp_path / "aime24.jsonl").write_text(rows)
    with pytest.raises(ConfigError, match="1 problems of aime24 stand there more than once"):
        question_paper(suite("aime24"), DataSettings(str(tmp_path), unverified=True))


@pytest.mark.parametrize("name", ["boxed", "sfpo", "qwen_math", "hashes", "base", "bare"])
def test_every_prompt_shows_the_whole_problem(name: str) -> None:
    for question in question_paper(suite("mixed"), DATA, name)[0].questions:
        content = question.prompt.content
        assert question.problem.text in (content if isinstance(content, str) else content[0].content)


def test_the_first_problems_are_those_of_the_source_in_its_order() -> None:
    [whole], [first] = (question_paper(suite("arithmetic"), DATA, first=count) for count in (0, 5))
    assert [question.key for question in first.questions] == [question.key for question in whole.questions[:5]]
