"""Runs a comparison: prepares its runs, schedules them on slots, delivers to MLflow, and writes the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from sfpo_bench.core.errors import Interrupted, RunFailed
from sfpo_bench.core.progress import Board, State
from sfpo_bench.core.seeding import generator
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.experiments.comparison import identity
from sfpo_bench.experiments.comparison.arms import Arm, PlannedRun, planned_runs
from sfpo_bench.experiments.comparison.room import require_room
from sfpo_bench.experiments.reuse import finished_runs
from sfpo_bench.reports import ReportFiles, write_report
from sfpo_bench.results.names import WORKERS_LOG
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.overruled import own_settings
from sfpo_bench.tracking.feed import Feed
from sfpo_bench.tracking.store_warnings import StoreWarnings
from sfpo_bench.tracking.stores import delivery_of
from sfpo_bench.training.checkpoint import covered_bytes
from sfpo_bench.training.run import is_finished, plain_node, prepare, train
from sfpo_bench.workers.build import build_launcher
from sfpo_bench.workers.drive import STOPPING, drive
from sfpo_bench.workers.job import Job, JobEnding
from sfpo_bench.workers.slots import JobOutcome, WorkerSlots


@dataclass(frozen=True, slots=True)
class PreparedComparison:
    """A comparison whose folder is locked, whose plan is written and whose runs are prepared."""

    folder: Path
    config: RunConfig
    runs: tuple[PlannedRun, ...]
    slots: int

    @classmethod
    @contextmanager
    def held(
        cls, config: RunConfig, arms: list[Arm], slots: int, remedy: str = identity.REMEDY
    ) -> Iterator[PreparedComparison]:
        """Find or create the comparison's folder, and hold its lock while its runs are prepared and trained.

        Nothing is written before the lock is held, so a refused call does not affect a running one. Raises `RunLocked`,
        and `ComparisonChanged` with the `remedy` if the folder holds another comparison.
        """
        first = config.comparison.first_seed
        seeds = range(first, first + config.comparison.seeds)
        plan = identity.describe(config, arms, seeds)
        wanted = config.comparison
        folder = identity.place(config.comparison_folder, plan, new_on_change=wanted.new_on_change, remedy=remedy)
        runs = planned_runs(arms, seeds, folder)
        nodes, others = {arm.key: arm.node for arm in arms}, finished_runs(tuple(wanted.reuse))
        with RunFolder(folder).locked():
            new = [from_node(nodes[run.arm]) for run in runs if not RunFolder(run.folder).checkpoints.exists()]
            require_room(folder, new, slots)
            identity.write(folder, plan)
            for run in runs:
                if not is_finished(RunFolder(run.folder), config.training):
                    node = plain_node(nodes[run.arm], own_settings(run.seed, f"{run.arm}-seed{run.seed}"))
                    if not others.take(RunFolder(run.folder), node):
                        prepare(RunFolder(run.folder), node, config.device)
            yield cls(folder, config, tuple(runs), slots)

    def pending(self) -> list[PlannedRun]:
        """Return the runs still to train, in a random order that is the same at every start.

        If arms were trained in blocks, a machine that slows down would make one method look slower."""
        open_runs = [r for r in self.runs if not is_finished(RunFolder(r.folder), self.config.training)]
        order = generator(0, "run_order", self.config.name).permutation(len(open_runs))
        return [open_runs[index] for index in order]


def run_comparison(comparison: PreparedComparison, warnings: StoreWarnings | None = None) -> ReportFiles:
    """Train every unfinished run while delivering journals to MLflow, then write the report; the caller holds the lock.

    Raises `Interrupted` on a stop request, after which everything is kept, and `RunFailed` if runs failed, after the
    others are finished and reported.
    """
    feed = _feed(comparison, warnings or StoreWarnings())
    stop = StopRequest()
    _set_state(comparison, RunState.running)
    if feed is not None:
        feed.start()
    failures = _train_all(comparison, stop)
    if stop.reason:
        _end(comparison, feed, RunState.interrupted)
        raise Interrupted(
            f"stopped ({stop.reason}); everything is kept in {comparison.folder}. Run the same command again to resume"
        )
    if len(failures) == len(comparison.runs):
        _end(comparison, feed, RunState.failed)
        raise RunFailed(f"every run failed, the first with: {failures[0].message}")
    files = write_report(comparison.folder)
    _end(comparison, feed, RunState.failed if failures else RunState.finished, astuple(files))
    if failures:
        named = {run.folder: run for run in comparison.runs}
        causes = "; ".join(f"{named[o.folder].arm} seed {named[o.folder].seed}: {o.message}" for o in failures)
        raise RunFailed(
            f"{len(failures)} of {len(comparison.runs)} runs did not finish: {causes}. See {files.report}; "
            "run the same command again to try these once more"
        )
    return files


def _set_state(comparison: PreparedComparison, state: RunState) -> None:
    """Record the state with the number of finished runs."""
    training = comparison.config.training
    done = sum(is_finished(RunFolder(run.folder), training) for run in comparison.runs)
    RunFolder(comparison.folder).write_status(RunStatus(state, done, len(comparison.runs)))


def _end(comparison: PreparedComparison, feed: Feed | None, state: RunState, files: Sequence[Path] = ()) -> None:
    """Record the end, tracked or not, and deliver it."""
    with suppress(OSError):  # of a full disk, say: what happened before is what the caller raises
        _set_state(comparison, state)
    if feed is not None:
        feed.close(state, files)


def _train_all(comparison: PreparedComparison, stop: StopRequest) -> list[JobOutcome]:
    """Train the unfinished runs; return those that failed."""
    pending = [Job.of(train, run.folder) for run in comparison.pending()]
    config, progress = comparison.config, _Progress(comparison)
    launcher = build_launcher(config.launcher, config.comparison.threads, comparison.folder / WORKERS_LOG)
    with stop.listening(), Board(config.name) as board:
        progress.show(board)
        slots = WorkerSlots(launcher, min(comparison.slots, len(pending)))
        drive(
            slots,
            pending,
            lambda outcome: board.say(progress.ended(outcome)),
            lambda: stop.reason is not None,
            each_pass=board.refresh,
            on_stop=lambda: board.say(STOPPING),
        )
        slots.close()
    return progress.failures


def _feed(comparison: PreparedComparison, warnings: StoreWarnings) -> Feed | None:
    delivery = delivery_of(comparison.config.tracking, Path(comparison.config.output_root))
    if delivery is None:
        return None
    runs = [RunFolder(run.folder) for run in comparison.runs]
    return Feed(delivery, RunFolder(comparison.folder), runs, covered_bytes, warnings)


class _Progress:
    """Progress of the comparison: finished runs and steps of all runs."""

    def __init__(self, comparison: PreparedComparison) -> None:
        self.failures: list[JobOutcome] = []
        self._runs, self._comparison = comparison.runs, comparison
        self._done = len(comparison.runs) - len(comparison.pending())

    def show(self, board: Board) -> None:
        """Show the current progress on the board and keep it updated."""
        board.follow(self._state)
        board.say(f"{self._comparison.folder}: {self._counts()[1]}; {self._comparison.slots} slots")

    def ended(self, outcome: JobOutcome) -> str:
        """Count a run that ended; return its line for the board."""
        self._done += outcome.ending == JobEnding.finished
        if outcome.ending in (JobEnding.failed, JobEnding.halted, JobEnding.died):
            self.failures.append(outcome)
        note = f": {outcome.message}" if outcome.message else ""
        run = next(run for run in self._runs if run.folder == outcome.folder)
        return f"[{self._done}/{len(self._runs)}] {run.arm} seed {run.seed} {outcome.ending}{note}"

    def _state(self) -> State:
        """Return the share of completed steps, and a description with the runs in training."""
        share, words, running = self._counts()
        return share, ", ".join(part for part in (words, running) if part)

    def _counts(self) -> tuple[float, str, str]:
        steps = self._comparison.config.training.steps
        states = [(run, RunFolder(run.folder).status()) for run in self._runs]
        done = sum(min(status.step, steps) for _, status in states)
        wanted = sum(status.wanted if status.at_target else steps for _, status in states)
        words = f"{self._done} of {len(self._runs)} runs finished, {done:,} of {wanted:,} steps done"
        running = [f"{run.arm}:{run.seed} {s.step}/{steps}" for run, s in states if s.state is RunState.running]
        return done / wanted, words, "  ".join(running)
