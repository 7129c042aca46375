"""The stop rule of a run: it ends before its last step at a target accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.options import option
from sfpo_bench.core.types import EvaluationRecord, Split


class EvaluationMode(StrEnum):
    """The decoding of an evaluation's responses: sampled or greedy."""

    sampled = "sampled"
    greedy = "greedy"


@dataclass
class StopAt:
    """Ends a run after `patience` consecutive evaluations at or above `accuracy`, or at its last step.

    The evaluation before training does not count.
    """

    accuracy: float = option(
        0.0, "target accuracy at which a run ends before training.steps; 0: off", low=0.0, high=1.0
    )
    split: Split = option(Split.select, "split of the accuracy: select, or report with allow_report")
    mode: EvaluationMode = option(
        EvaluationMode.sampled, "decoding of the evaluations: sampled, or greedy (report split only)"
    )
    patience: int = option(1, "consecutive evaluations at or above the target", low=1)
    allow_report: bool = option(
        False, "allow split=report: final accuracies are then biased upwards, and reports say so"
    )

    def reached_at(self, evaluations: Iterable[EvaluationRecord]) -> int | None:
        """The step after whose evaluation the run ends, from its evaluations only; None if it continues."""
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
        """The rule as text: `sampled accuracy of 0.6 on the select split, in 2 evaluations in a row`."""
        if not self.accuracy:
            return "nothing: every run takes all its steps"
        row = f", in {self.patience} evaluations in a row" if self.patience > 1 else ""
        return f"{self.mode} accuracy of {self.accuracy:g} on the {self.split} split{row}"
