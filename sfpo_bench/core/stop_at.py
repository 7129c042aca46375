"""When a run ends before its last step: at an accuracy that it is to reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.options import option
from sfpo_bench.core.types import EvaluationRecord, Split


class EvaluationMode(StrEnum):
    """How the responses of an evaluation are drawn: sampled, or decoded greedily."""

    sampled = "sampled"
    greedy = "greedy"


@dataclass
class StopAt:
    """A run ends after `patience` evaluations in a row at or above `accuracy`, and with its last step at the latest.

    The evaluation before training ends no run.
    """

    accuracy: float = option(
        0.0, "accuracy at which a run ends before training.steps; 0: it takes all its steps", low=0.0, high=1.0
    )
    split: Split = option(Split.select, "problems on which it is measured: select, or report with allow_report")
    mode: EvaluationMode = option(
        EvaluationMode.sampled, "evaluations that count: sampled, or greedy (report split only)"
    )
    patience: int = option(1, "evaluations in a row that must be at or above it", low=1)
    allow_report: bool = option(
        False, "stop on the report split all the same: accuracies at the end are then too high, and reports say so"
    )

    def reached_at(self, evaluations: Iterable[EvaluationRecord]) -> int | None:
        """The step after whose evaluation the run ends, a function of its evaluations alone; None while it goes on."""
        if not self.accuracy:
            return None
        counted = {r.step: r.accuracy for r in evaluations if r.split == self.split and r.mode == self.mode and r.step}
        in_a_row = 0
        for step in sorted(counted):
            in_a_row = in_a_row + 1 if counted[step] >= self.accuracy else 0
            if in_a_row == self.patience:
                return step
        return None

    def __str__(self) -> str:
        """`sampled accuracy of 0.6 on the select split, in 2 evaluations in a row`."""
        if not self.accuracy:
            return "nothing: every run takes all its steps"
        row = f", in {self.patience} evaluations in a row" if self.patience > 1 else ""
        return f"{self.mode} accuracy of {self.accuracy:g} on the {self.split} split{row}"
