from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.types import EventRecord, JournalRecord
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.run_tables import (
    CURVES_COLUMNS,
    SAMPLES_COLUMNS,
    read_curves_table,
    read_samples_table,
    write_curves_table,
    write_samples_table,
)
from tests.tracking.records import costs, evaluation, run_folder, sample, short_run, step_record, write


def test_every_number_of_the_journal_is_a_row(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, [evaluation(0), step_record(1), EventRecord(1, 5.0, "trigger_fired", {"z": 2.5})])
    write_curves_table(folder)
    frame = read_curves_table(folder)
    assert frame["kind"].value_counts().to_dict() == {"evaluation": 9, "step": 3, "stage": 20, "event": 2}
    values = {(row.step, row.key): row.value for row in frame.itertuples()}
    assert values[0, "report/sampled/accuracy"] == 0.5
    assert values[0, "report/sampled/no_answer"] == 2
    assert values[1, "reward_mean"] == 0.01
    assert values[1, "fast_1/loss"] == 1.5
    assert values[1, "trigger_fired"] == 1 and values[1, "trigger_fired.z"] == 2.5


def test_the_cost_axes_stand_beside_every_number_but_those_of_events(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    write_curves_table(folder)
    frame = read_curves_table(folder)
    last = frame[(frame["step"] == 6) & (frame["key"] == "entropy")].iloc[0]
    assert (last["prompts"], last["responses"], last["tokens"]) == (48, 384, 4200)
    assert last["train_seconds"] == costs(6).train_seconds
    events = frame[frame["kind"] == "event"]
    assert events["responses"].isna().all() and frame.drop(events.index)["responses"].notna().all()


def test_infinities_and_nan_stay_what_they_are(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, [step_record(1, {"a": math.inf, "b": -math.inf, "c": math.nan})])
    write_curves_table(folder)
    values = read_curves_table(folder).set_index("key")["value"]
    assert values["a"] == math.inf and values["b"] == -math.inf and math.isnan(values["c"])


def test_only_the_covered_part_of_the_journal_is_in_the_table(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    lengths = write(folder.journal, [step_record(1), step_record(2)])
    write_curves_table(folder, lengths[0])
    assert set(read_curves_table(folder)["step"]) == {1}


def test_samples_read_back_with_every_field(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write(folder.samples, [sample(1), sample(2, 3, "lone surrogate \ud800, newline \n, ünïcode")])
    write_samples_table(folder)
    frame = read_samples_table(folder)
    assert list(frame.columns) == list(SAMPLES_COLUMNS)
    assert frame.iloc[1]["response"] == "lone surrogate \\ud800, newline \n, ünïcode"
    assert frame.iloc[1][["step", "sample", "finish_reason", "status", "reward", "advantage"]].tolist() == [
        2, 3, "stopped", "correct", 1.0, 0.5,
    ]  # fmt: skip


def test_a_response_without_an_answer_has_a_missing_value_not_the_text_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write(folder.samples, [replace(sample(1), extracted=None), sample(2)])
    write_samples_table(folder)
    assert read_samples_table(folder)["extracted"].isna().tolist() == [True, False]


@pytest.mark.parametrize("records", [[], short_run()], ids=["empty", "short run"])
def test_columns_and_types_do_not_depend_on_the_content(tmp_path: Path, records: list[JournalRecord]) -> None:
    folder = run_folder(tmp_path, records)
    write_curves_table(folder)
    write_samples_table(folder)
    for frame, declared in ((read_curves_table(folder), CURVES_COLUMNS), (read_samples_table(folder), SAMPLES_COLUMNS)):
        assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
            name: kind for name, (_, kind) in declared.items()
        }


def test_writing_again_replaces_the_table_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    write_curves_table(folder)
    first = folder.curves.read_bytes()
    write_curves_table(folder)
    assert folder.curves.read_bytes() == first
    assert not list(tmp_path.glob("*.tmp"))


def test_a_table_not_yet_written_says_when_it_will_be(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="when it ends"):
        read_curves_table(RunFolder(tmp_path))
