from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from sfpo_bench.core.types import EventRecord, JournalRecord, Split
from sfpo_bench.tracking.points import MetricPoint, PrimaryEvaluation, RecordPoints, store_name, to_points
from tests.tracking.records import START_UNIX_S, costs, evaluation, short_run, step_record


def told(*records: JournalRecord, primary: PrimaryEvaluation | None = None) -> list[RecordPoints]:
    return list(to_points(records, primary or PrimaryEvaluation()))


def values(one: RecordPoints) -> dict[str, float]:
    return {point.key: point.value for point in one.points}


def test_a_step_tells_its_metrics_stages_and_costs_at_its_own_time() -> None:
    [one] = told(step_record(2))
    found = values(one)
    assert found["reward_mean"] == 0.02
    assert found["fast_1/loss"] == 2.5 and found["slow/optimizer_steps"] == 4
    assert found["prompts"] == 16 and found["responses"] == 128 and found["cpu_seconds"] == 6.0
    assert {(point.step, point.time_ms) for point in one.points} == {(2, round((START_UNIX_S + 20) * 1000))}


def test_an_evaluation_tells_accuracy_counts_and_every_status_met() -> None:
    found = values(told(evaluation(3, Split.select, "greedy", 0.25))[0])
    assert found["select/greedy/accuracy"] == 0.25
    assert found["select/greedy/n"] == 10 and found["select/greedy/truncated"] == 1
    assert found["select/greedy/no_answer"] == 2
    assert "select/greedy/timeout" not in found


def test_the_costs_of_a_step_are_told_once_by_its_first_record() -> None:
    first, second, third = told(evaluation(0), evaluation(0, Split.select), step_record(1))
    assert values(first)["responses"] == 0
    assert "responses" not in values(second)
    assert values(third)["responses"] == costs(1).responses


def test_the_primary_accuracy_is_also_told_over_responses_and_over_training_seconds() -> None:
    [one] = told(evaluation(3, accuracy=0.75))
    by_cost = {point.key: (point.step, point.value) for point in one.points if point.key.startswith("accuracy_by")}
    assert by_cost == {"accuracy_by_responses": (192, 0.75), "accuracy_by_train_seconds": (4, 0.75)}


def test_another_evaluation_than_the_primary_one_is_not_told_over_cost() -> None:
    [one] = told(evaluation(3), primary=PrimaryEvaluation(Split.report, "greedy"))
    assert not any(key.startswith("accuracy_by") for key in values(one))


def test_infinities_and_nan_are_left_out_and_counted() -> None:
    [one] = told(step_record(1, {"a": math.inf, "b": -math.inf, "c": math.nan, "d": 1.0}))
    assert one.left_out == 3
    assert not {"a", "b", "c"} & set(values(one)) and values(one)["d"] == 1.0


def test_an_event_counts_up_and_its_tag_says_when_it_first_happened() -> None:
    events = [EventRecord(step, START_UNIX_S + step, "trigger_fired", {"z": float(step)}) for step in (5, 7)]
    first, second = told(*events)
    assert first.tags == {"event.trigger_fired": "5"} and second.tags == {}
    time_ms = round((START_UNIX_S + 7) * 1000)
    assert set(second.points) == {
        MetricPoint("event.trigger_fired", 2.0, time_ms, 7),
        MetricPoint("event.trigger_fired.z", 7.0, time_ms, 7),
    }


def test_what_a_record_tells_does_not_depend_on_what_follows() -> None:
    records = short_run()
    whole = told(*records)
    for count in range(len(records)):
        assert told(*records[:count]) == whole[:count]


@pytest.mark.parametrize("key", ["reward_mean", "fast_1/clip_fraction", "report/sampled/accuracy", "a.b-c: d"])
def test_names_mlflow_accepts_stay_as_they_are(key: str) -> None:
    assert store_name(key) == key


@settings(deadline=None)
@given(st.text(max_size=300))
def test_every_name_is_made_one_that_mlflow_accepts(key: str) -> None:
    name = store_name(key)
    _validate_metric_name(name)  # type: ignore[no-untyped-call]  # mlflow types it not
    assert 1 <= len(name) <= 250 and not re.search(r"[@=\[\]]", name)
