"""The costs of a run are declared once: the axes, the record and the tables have the same ones."""

from __future__ import annotations

from dataclasses import astuple, fields

import pytest

from sfpo_bench.core.costs import AXIS_KEYS, COST_TYPES, MAIN_AXES, CostAxis, Costs
from sfpo_bench.reports.axes import TABLE_ORDER, known_axes


def test_every_axis_is_a_number_of_the_record_and_only_cpu_seconds_are_no_axis() -> None:
    assert [field.name for field in fields(Costs)] == list(COST_TYPES) == [*AXIS_KEYS, "cpu_seconds"]
    assert {name for name, kind in COST_TYPES.items() if kind is float} == {
        *(axis.value for axis in CostAxis if axis.is_time),
        "cpu_seconds",
    }


@pytest.mark.parametrize("axis", CostAxis)
def test_an_axis_reads_its_own_number_and_has_its_words(axis: CostAxis) -> None:
    spent = Costs(1, 2, 3, 4, 5.5, 6.5, 7.5)
    assert spent.on(axis) == astuple(spent)[AXIS_KEYS.index(axis)]
    assert axis.less.endswith(axis.noun) and axis.more == f"more {axis.noun}" and axis.meaning
    assert axis.caption.startswith(axis.label) and axis.label.startswith(axis.words)


def test_counts_are_whole_and_what_is_not_known_is_nothing() -> None:
    found = Costs.of({CostAxis.responses: 63.9999, CostAxis.train_seconds: 1.25})
    assert found == Costs(responses=64, train_seconds=1.25) and isinstance(found.responses, int)


def test_tables_begin_with_what_the_answer_speaks_of_and_leave_no_axis_out() -> None:
    assert TABLE_ORDER[: len(MAIN_AXES)] == MAIN_AXES and sorted(TABLE_ORDER) == sorted(CostAxis)
    assert known_axes(["tokens", "prompts"]) == (CostAxis.prompts, CostAxis.tokens)
