from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfpo_bench.core.errors import BenchError, CheckpointError
from sfpo_bench.core.types import EventRecord, Split
from sfpo_bench.results.journal import JournalWriter, cut, decode, encode, read_journal, read_samples
from tests.tracking.records import evaluation, sample, short_run, step_record, write


def test_records_read_back_equal_to_what_was_written(tmp_path: Path) -> None:
    records = [record for record in short_run() if not (record.step == 3 and hasattr(record, "metrics"))]
    write(tmp_path / "journal.jsonl", records)
    assert read_journal(tmp_path / "journal.jsonl") == records


def test_infinities_and_nan_survive_in_every_number_field(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, [step_record(1, {"a": math.inf, "b": -math.inf}), evaluation(1, accuracy=math.nan)])
    write(path, [EventRecord(1, 0.0, "skipped", {"norm": math.inf})])
    step, scored, event = read_journal(path)
    assert step == step_record(1, {"a": math.inf, "b": -math.inf})
    assert not isinstance(scored, EventRecord) and math.isnan(getattr(scored, "accuracy", 0.0))
    assert isinstance(event, EventRecord) and event.detail == {"norm": math.inf}


def test_an_infinite_advantage_reads_back_as_a_number(tmp_path: Path) -> None:
    line = encode(sample(1)).replace(b'"advantage": 0.5', b'"advantage": "-inf"')
    assert getattr(decode(line), "advantage", None) == -math.inf


@given(st.text())
def test_any_response_text_reads_back_unchanged(response: str) -> None:
    assert getattr(decode(encode(sample(1, response=response))), "response", None) == response


def test_a_response_with_a_lone_surrogate_reads_back_unchanged(tmp_path: Path) -> None:
    write(tmp_path / "samples.jsonl", [sample(1, response="\ud800\r\n\u2028")])
    assert read_samples(tmp_path / "samples.jsonl")[0].response == "\ud800\r\n\u2028"


def test_only_records_wholly_inside_the_length_are_read(tmp_path: Path) -> None:
    records = [step_record(step) for step in (1, 2, 3)]
    lengths = write(tmp_path / "journal.jsonl", records)
    for index, length in enumerate(lengths):
        assert len(read_journal(tmp_path / "journal.jsonl", length)) == index + 1
        assert len(read_journal(tmp_path / "journal.jsonl", length - 1)) == index


def test_a_torn_last_line_is_ignored_and_does_not_spoil_what_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, [step_record(1)])
    path.write_bytes(path.read_bytes() + encode(step_record(2))[:25])
    assert read_journal(path) == [step_record(1)]
    write(path, [step_record(2)])
    assert read_journal(path) == [step_record(1), step_record(2)]


def test_cutting_drops_what_no_checkpoint_covers(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lengths = write(path, [step_record(1), step_record(2)])
    cut(path, lengths[0])
    assert read_journal(path) == [step_record(1)]


def test_cutting_an_absent_journal_to_nothing_is_fine(tmp_path: Path) -> None:
    cut(tmp_path / "journal.jsonl", 0)
    assert not (tmp_path / "journal.jsonl").exists()


def test_cutting_beyond_the_end_is_refused_instead_of_filling_with_zeros(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lengths = write(path, [step_record(1)])
    with pytest.raises(CheckpointError, match="records are lost"):
        cut(path, lengths[0] + 1)
    with pytest.raises(CheckpointError, match="holds 0 bytes"):
        cut(tmp_path / "absent.jsonl", 1)
    assert read_journal(path) == [step_record(1)]


def test_length_counts_the_bytes_of_earlier_processes_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = write(path, [step_record(1)])[-1]
    with JournalWriter(path) as writer:
        assert writer.length() == before


@pytest.mark.parametrize(
    "line", ['{"kind": "poem"}', '{"kind": "event", "step": 1}', "[]", "not json", '{"kind": "step"}']
)
def test_a_line_of_another_version_is_named_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(encode(evaluation(0, Split.train)) + line.encode() + b"\n")
    with pytest.raises(BenchError, match="line 2"):
        read_journal(path)
