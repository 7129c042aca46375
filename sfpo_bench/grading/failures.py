"""When a run must stop because too many of its responses could not be graded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.types import EvaluationRecord, GradeStatus, JournalRecord, StepRecord

LIMIT = 0.01
PATIENCE = 10  # failures that are always borne, for one in a small first batch is above any share


@dataclass(slots=True)
class GradingFailures:
    """Counts grades, and among them those by `timeout` or `error`, which are no verdicts but earn reward 0.

    A few do no harm. Many would train the policy on the limits of the grader, so more than `LIMIT` of all grades so
    far, once there are more than `PATIENCE`, end the run.
    """

    graded: int = 0
    failed: int = 0

    def count(self, statuses: Iterable[GradeStatus]) -> None:
        """Add these; raises `RunFailed` above the limit."""
        for status in statuses:
            self.graded += 1
            self.failed += failed(status)
        if self.failed > PATIENCE and self.failed > LIMIT * self.graded:
            raise RunFailed(
                f"{self.failed} of {self.graded} responses could not be graded in time, or broke the process that "
                f"graded them ({self.failed / self.graded:.1%}); expected at most {LIMIT:.0%}, for their rewards of 0 "
                f"say nothing about them. Look at those with status timeout or error (`sfpo-bench show`), give the "
                "machine less other work, or with task=jsonl a grade more time (task.grading_seconds), and run the "
                "same command again"
            )


def failures_so_far(journal: Iterable[JournalRecord]) -> GradingFailures:
    """The count as it stood at the end of a run's journal, so that a run resumed is as patient as one never stopped."""
    graded = unable = responses = 0
    for record in journal:
        if isinstance(record, StepRecord):
            fresh = record.costs.responses - responses
            responses = record.costs.responses
            graded += fresh
            unable += round(record.metrics["grading_failed_share"] * fresh)
        elif isinstance(record, EvaluationRecord):
            graded += sum(record.statuses.values())
            unable += sum(count for name, count in record.statuses.items() if failed(GradeStatus(name)))
    return GradingFailures(graded, unable)


def failed(status: GradeStatus) -> bool:
    """True for a grade that is neither a verdict nor a fact about the response or the gold."""
    return status in (GradeStatus.timeout, GradeStatus.error)
