"""The records of a study's parts: what is kept, what is done again, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.core.errors import BenchError, ComparisonChanged
from sfpo_bench.experiments.study.ledger import Done, Ledger
from sfpo_bench.results.study import PartRecord

NAMES = ("first", "second")


class Work:
    """A part that counts how often it is done, and leaves a file with its result."""

    def __init__(self, folder: Path, name: str, content: str = "made") -> None:
        self.file, self.content, self.times = folder / f"{name}.txt", content, 0

    def __call__(self) -> Done:
        self.times += 1
        self.file.write_text(self.content)
        return Done({"content": self.content}, [self.file])


def ledger(folder: Path) -> Ledger:
    return Ledger(folder, NAMES, lambda text: None)


def test_a_part_is_done_once(tmp_path: Path) -> None:
    work = Work(tmp_path, "first")
    made = [ledger(tmp_path).once("first", {"a": (1, 2.5)}, [], work) for _ in range(3)]
    assert work.times == 1 and made[0] == made[1] == made[2]
    assert made[0].result == {"content": "made"}


@pytest.mark.parametrize("harm", ["changed", "removed"])
def test_a_part_whose_file_is_not_as_it_was_is_done_again(tmp_path: Path, harm: str) -> None:
    work = Work(tmp_path, "first")
    before = ledger(tmp_path).once("first", {}, [], work)
    if harm == "changed":
        work.file.write_text("other")
    else:
        work.file.unlink()
    assert ledger(tmp_path).once("first", {}, [], work) == before and work.times == 2


def test_what_follows_from_another_result_is_done_again_and_from_the_same_is_not(tmp_path: Path) -> None:
    work = Work(tmp_path, "second")

    def upstream(content: str) -> PartRecord:
        return PartRecord({}, "", {"content": content}, {})

    for content, times in (("a", 1), ("a", 1), ("b", 2), ("b", 2)):
        ledger(tmp_path).once("second", {}, [upstream(content)], work)
        assert work.times == times


def test_other_settings_are_refused_with_every_difference_and_the_parts_it_touches(tmp_path: Path) -> None:
    own = ledger(tmp_path)
    own.once("first", {"rate": 1e-4, "same": 1}, [], Work(tmp_path, "first"))
    own.once("second", {"rate": 1e-4}, [], Work(tmp_path, "second"))
    own.check({"first": {"rate": 1e-4, "same": 1}, "second": {"rate": 1e-4}})
    with pytest.raises(ComparisonChanged, match=r"rate: 0.0001 -> 0.01 \(first, second\)"):
        own.check({"first": {"rate": 0.01, "same": 1}, "second": {"rate": 0.01}})
    own.check({"first": {"rate": 1e-4, "same": 1}, "second": {"rate": 0.01}}, redo=["second"])


def test_other_code_is_a_change_unless_something_is_to_be_done_again(tmp_path: Path) -> None:
    work = Work(tmp_path, "first")
    before = ledger(tmp_path).once("first", {"code_version": "a", "rate": 1}, [], work)
    with pytest.raises(ComparisonChanged, match="code_version: a -> b"):
        ledger(tmp_path).check({"first": {"code_version": "b", "rate": 1}, "second": {}})
    kept = Ledger(tmp_path, NAMES, lambda text: None, any_code=True)
    kept.check({"first": {"code_version": "b", "rate": 1}, "second": {}})
    assert kept.once("first", {"code_version": "b", "rate": 1}, [], work) == before and work.times == 1
    with pytest.raises(ComparisonChanged, match="rate: 1 -> 2"):
        kept.check({"first": {"code_version": "b", "rate": 2}, "second": {}})


def test_settings_of_a_part_that_was_never_done_may_change(tmp_path: Path) -> None:
    own = ledger(tmp_path)
    own.once("first", {"rate": 1}, [], Work(tmp_path, "first"))
    own.check({"first": {"rate": 1}, "second": {"suite": "another"}})


def test_a_part_that_fails_leaves_no_record(tmp_path: Path) -> None:
    def failing() -> Done:
        raise BenchError("no")

    with pytest.raises(BenchError, match="no"):
        ledger(tmp_path).once("first", {}, [], failing)
    assert ledger(tmp_path).read("first") is None


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "first.json").write_text("{}")
    with pytest.raises(BenchError, match=r"is damaged.* remove it to do the part again"):
        ledger(tmp_path).read("first")
