"""A set is read from a folder or the hub, and refused when it is not what its card says."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.problems.load import last_boxed
from sfpo_bench.problems.sets import DataSettings, card, load_problem_set
from tests.problem_sets.shared_data import SHARED, needs_shared_data


def write(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> DataSettings:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSettings(str(folder))


def test_another_content_is_refused_and_taken_only_by_request(tmp_path: Path) -> None:
    data = write(tmp_path, "aime24", [{"problem": "What is 1 + 1?", "answer": "2"}])
    with pytest.raises(ConfigError, match=r"found 1 problems .*, expected 30 problems .*unverified=true"):
        load_problem_set("aime24", data)
    taken = load_problem_set("aime24", DataSettings(data.dir, unverified=True))
    assert not taken.verified and [p.id for p in taken.problems] == ["aime24/0"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem": "What?", "answer": ""}, "line 1.*answer is absent or empty"),
        ({"problem": "What?", "answer": "1/2"}, "no whole number"),
    ],
)
def test_rows_that_cannot_be_asked_or_graded_are_refused(tmp_path: Path, row: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_problem_set("aime25", DataSettings(write(tmp_path, "aime25", [row]).dir, unverified=True))


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "aime26.jsonl").write_text('{"problem": "a", "answer": "1"}\nnonsense\n')
    with pytest.raises(ConfigError, match=r"aime26.jsonl line 2: found no JSON"):
        load_problem_set("aime26", DataSettings(str(tmp_path)))


def test_an_absent_file_names_the_folder_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no math500.jsonl in .* Put it there, or set data.dir"):
        load_problem_set("math500", DataSettings(str(tmp_path)))


def test_a_set_that_is_on_no_hub_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SFPO_BENCH_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"not on the hub in this form; set data.dir"):
        load_problem_set("cmimc24", DataSettings())


def test_without_the_library_the_message_has_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SFPO_BENCH_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDataError, match=r"pip install '\.\[hub\]'` in .*; or set data\.dir"):
        load_problem_set("hmmt_feb25", DataSettings())


class _Hub(types.ModuleType):
    """Stands for the `datasets` library with one data set in its cache, or with none."""

    def __init__(self, cache: Path, rows: Sequence[Mapping[str, Any]] | None) -> None:
        super().__init__("datasets")
        self.rows = rows
        self.asked: list[tuple[Any, ...]] = []
        self.config = types.SimpleNamespace(HF_DATASETS_CACHE=str(cache))

    def load_dataset(self, name: str, config: str | None, *, split: str, revision: str) -> Any:
        self.asked.append((name, config, split, revision))
        if self.rows is None:
            raise ConnectionError("Couldn't reach the hub")
        return self.rows


def cached(cache: Path, name: str) -> Path:
    """A cache that has prepared the set before."""
    (cache / name.replace("/", "___")).mkdir()
    return cache


def test_offline_says_so_at_once_and_names_the_local_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SFPO_BENCH_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setitem(sys.modules, "datasets", hub := _Hub(tmp_path, None))
    with pytest.raises(MissingDataError, match=r"the hub .* does not answer .*; set data.dir .* aime26.jsonl"):
        load_problem_set("aime26", DataSettings(unverified=True))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingDataError, match="HF_HUB_OFFLINE is set"):
        load_problem_set("aime26", DataSettings(unverified=True))
    assert not hub.asked
    cached(tmp_path, "MathArena/aime_2026")
    with pytest.raises(MissingDataError, match=r"ConnectionError: Couldn't reach the hub.*or set data.dir"):
        load_problem_set("aime26", DataSettings(unverified=True))


@needs_shared_data
def test_a_hub_copy_agrees_with_a_local_one_when_its_text_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub writes AMC answers as decimals; order and white space may differ too."""
    monkeypatch.delenv("SFPO_BENCH_DATA", raising=False)
    local = load_problem_set("amc_aimo83", DataSettings(str(SHARED)))
    rows = [{"problem": f"{p.text}\n", "answer": float(p.answer)} for p in reversed(local.problems)]
    hub = _Hub(cached(tmp_path, "AI-MO/aimo-validation-amc"), rows)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert load_problem_set("amc_aimo83", DataSettings()).verified
    assert hub.asked == [("AI-MO/aimo-validation-amc", None, "train", "main")]


def test_a_changed_column_of_the_hub_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SFPO_BENCH_DATA", raising=False)
    monkeypatch.setitem(
        sys.modules, "datasets", _Hub(cached(tmp_path, "HuggingFaceH4/MATH-500"), [{"question": "a", "answer": "1"}])
    )
    with pytest.raises(ConfigError, match="expected problem too; the hub's copy has changed"):
        load_problem_set(card("math500").name, DataSettings())


@pytest.mark.parametrize(
    ("solution", "answer"),
    [(r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"), (r"\boxed{1} then \boxed{2}", "2"), (r"\boxed{1", ""), ("no", "")],
)
def test_last_box_of_a_solution(solution: str, answer: str) -> None:
    assert last_boxed(solution) == answer
