"""Evaluations in the slots of a launcher: one model per slot or, with more slots than models, shares of its samples.

The missing samples are determined and divided at every start, so it does not matter which process generated which
sample or how often one was killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from sfpo_bench.core.errors import Interrupted, RunFailed
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation.generation import STOPPED
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.run import EvaluationPlan, SampleProgress, begin, finish
from sfpo_bench.evaluation.share import deal, generate_share
from sfpo_bench.results.names import WORKERS_LOG
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.sample_store import SampleStore
from sfpo_bench.workers.build import build_launcher
from sfpo_bench.workers.drive import drive
from sfpo_bench.workers.job import Job, JobEnding
from sfpo_bench.workers.slots import JobOutcome, WorkerSlots


def evaluate_in_slots(
    plans: Sequence[EvaluationPlan],
    count: int,
    stop: StopRequest,
    progress: SampleProgress,
    done: Callable[[EvaluationPlan, Evaluation], None],
) -> None:
    """Evaluate `plans` (at least one, all with the settings of one call) in `count` slots.

    `done` is called for each as soon as it is graded. Raises `Interrupted` on a stop request, and `RunFailed` after all
    others have ended if a share failed; finished samples are kept.
    """
    started = time.monotonic()
    with ExitStack() as locks:
        for plan in plans:
            locks.enter_context(RunFolder(plan.store.path).locked())
        missing = [begin(plan) for plan in plans]
        progress.start(sum(len(o.samples) for wanted in missing for o in wanted), sum(plan.asked for plan in plans))
        share_count = -(-count // max(1, sum(map(bool, missing))))
        shares = [deal(plan, wanted, share_count) for plan, wanted in zip(plans, missing, strict=True)]
        watch = _Watch(plans, shares, started, progress, done)
        watch.finish_what_is_there()
        if any(shares):
            _generate(plans[0], count, watch, stop)
    if stop.reason:
        raise Interrupted(STOPPED.format(reason=stop.reason))
    if watch.failures:
        causes = "; ".join(dict.fromkeys(outcome.message for outcome in watch.failures))
        raise RunFailed(
            f"{len(watch.failures)} of {sum(map(len, shares))} shares of the evaluation were not generated: {causes}. "
            "Every finished sample is kept; run the same command again"
        )


def _generate(plan: EvaluationPlan, count: int, watch: _Watch, stop: StopRequest) -> None:
    settings, pending = plan.settings, [Job.of(generate_share, share) for share in watch.pending()]
    count = min(count, len(pending))
    threads = settings.threads or max(1, (os.cpu_count() or 1) // count)
    launcher = build_launcher(settings.launching, threads, plan.store.path / WORKERS_LOG)
    with stop.listening():
        slots = WorkerSlots(launcher, count)
        drive(slots, pending, watch.ended, lambda: stop.reason is not None, each_pass=watch.count)
        slots.close()


class _Watch:
    """Tracks which shares have finished, and grades each evaluation once all of its shares have."""

    def __init__(
        self,
        plans: Sequence[EvaluationPlan],
        shares: Sequence[Sequence[Path]],
        started: float,
        progress: SampleProgress,
        done: Callable[[EvaluationPlan, Evaluation], None],
    ) -> None:
        self.failures: list[JobOutcome] = []
        self._open = {plan.store.path: (plan, set(folders)) for plan, folders in zip(plans, shares, strict=True)}
        self._started = started
        self._progress = progress
        self._done = done
        self._generated = {folder: 0 for folders in shares for folder in folders}

    def pending(self) -> list[Path]:
        """Return the shares, those of the first evaluation first."""
        return list(self._generated)

    def ended(self, outcome: JobOutcome) -> None:
        """Record the end of a share."""
        if outcome.ending != JobEnding.finished:
            self.failures += [outcome] if outcome.ending != JobEnding.interrupted else []
            return
        self.count()
        self._open[SampleStore.of_share(outcome.folder).path][1].remove(outcome.folder)
        self.finish_what_is_there()

    def finish_what_is_there(self) -> None:
        """Grade and report the evaluations without open shares."""
        for path, (plan, folders) in list(self._open.items()):
            if not folders:
                del self._open[path]
                self._done(plan, finish(plan, self._started))

    def count(self) -> None:
        """Add the samples since the last call to the progress display."""
        for folder, before in self._generated.items():
            there = RunFolder(folder).status().step
            if there > before:
                self._generated[folder] = there
                self._progress.done(there - before)
