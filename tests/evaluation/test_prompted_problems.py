"""Which problems an evaluation asks, and with which prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.prompted_problems import prompted_benchmarks
from sfpo_bench.problems.sets import DataSettings, Suite, load_problem_set, suite
from sfpo_bench.problems.suites import Role, SuiteEntry
from tests.problem_sets.shared_data import SHARED, needs_shared_data

DATA = DataSettings()


def keys(problems: int) -> list[str]:
    [benchmark] = prompted_benchmarks(suite("arithmetic"), DATA, problems=problems)
    return [prompted.key for prompted in benchmark.prompted]


def test_a_smaller_part_lies_within_a_larger_one_and_all_is_all() -> None:
    assert set(keys(10)) < set(keys(30)) < set(keys(0)) == set(keys(1000))
    assert len(keys(10)) == 10 and len(keys(0)) == 100


def test_the_smaller_of_two_limits_holds() -> None:
    own = Suite("own", "own", Role.report, [SuiteEntry("arithmetic", problems=7)])
    assert len(prompted_benchmarks(own, DATA)[0].prompted) == 7
    assert len(prompted_benchmarks(own, DATA, problems=3)[0].prompted) == 3
    assert len(prompted_benchmarks(own, DATA, problems=30)[0].prompted) == 7


def test_what_a_suite_leaves_out_is_not_asked() -> None:
    own = Suite("own", "own", Role.report, [SuiteEntry("mixed", leave_out=["mixed/0", "mixed/3"])])
    ids = [prompted.problem.id for prompted in prompted_benchmarks(own, DATA)[0].prompted]
    assert len(ids) == 14 and not {"mixed/0", "mixed/3"} & set(ids)


@needs_shared_data
def test_the_order_of_the_source_does_not_choose_the_problems(tmp_path: Path) -> None:
    lines = (SHARED / "eval" / "amc23.jsonl").read_text().splitlines()
    (tmp_path / "amc23.jsonl").write_text("\n".join(reversed(lines)))
    found = [prompted_benchmarks(suite("amc23"), DataSettings(str(place)), problems=10) for place in (SHARED, tmp_path)]
    drawn = [{prompted.key for prompted in benchmarks[0].prompted} for benchmarks in found]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 10


def test_the_prompt_hash_changes_with_template_and_problem_alone() -> None:
    plain, other = (prompted_benchmarks(suite("mixed"), DATA, prompt)[0] for prompt in ("", "hashes"))
    same = prompted_benchmarks(suite("mixed"), DATA, "boxed")[0]  # what the card names
    hashes = [prompted.prompt_sha256 for prompted in plain.prompted]
    assert len(set(hashes)) == len(hashes) == len(load_problem_set("mixed", DATA).problems)
    assert not set(hashes) & {prompted.prompt_sha256 for prompted in other.prompted}
    assert hashes == [prompted.prompt_sha256 for prompted in same.prompted]


def test_a_problem_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    rows = '{"problem": "What is 1 + 1?", "answer": "2"}\n{"problem": " What is  1 + 1?", "answer": "2"}\n'
    (tmp_path / "aime24.jsonl").write_text(rows)
    with pytest.raises(ConfigError, match="1 problems of aime24 occur more than once"):
        prompted_benchmarks(suite("aime24"), DataSettings(str(tmp_path), unverified=True))


@pytest.mark.parametrize("name", ["boxed", "sfpo", "qwen_math", "hashes", "base", "bare"])
def test_every_prompt_shows_the_whole_problem(name: str) -> None:
    for prompted in prompted_benchmarks(suite("mixed"), DATA, name)[0].prompted:
        content = prompted.prompt.content
        assert prompted.problem.text in (content if isinstance(content, str) else content[0].content)


def test_the_first_problems_are_those_of_the_source_in_its_order() -> None:
    [whole], [first] = (prompted_benchmarks(suite("arithmetic"), DATA, first=count) for count in (0, 5))
    assert [prompted.key for prompted in first.prompted] == [prompted.key for prompted in whole.prompted[:5]]
