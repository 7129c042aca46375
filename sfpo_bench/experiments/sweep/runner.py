"""Runs a sweep: schedules trials on slots, follows journals, prunes, and records the end of trials in the study.

Each pass of the loop depends only on the journals on disk and the study, so a kill loses nothing. Workers only train
and write journals; they use neither the study nor the tracking store.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sfpo_bench.core.errors import BenchError, ConfigError, Interrupted, MissingDataError, RunFailed, RunLocked
from sfpo_bench.core.progress import Board, State
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.experiments.reuse import finished_runs
from sfpo_bench.experiments.sweep import identity
from sfpo_bench.experiments.sweep.live import LiveTrial, forget_uncovered
from sfpo_bench.experiments.sweep.plan import PreparedSweep
from sfpo_bench.reports.sweep.load import load_sweep
from sfpo_bench.reports.sweep.write import SweepFiles, write_sweep_report
from sfpo_bench.results.names import WORKERS_LOG
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.sweep import SweepFolder, TrialsRecord
from sfpo_bench.search.pruners import pruner_of
from sfpo_bench.search.space import Value
from sfpo_bench.search.storage import STORE_ERRORS, open_storage
from sfpo_bench.search.study import SharedStudy
from sfpo_bench.search.trial_view import OVER, TrialView
from sfpo_bench.settings.overruled import own_settings
from sfpo_bench.settings.search import SweepSampler
from sfpo_bench.tracking.feed import Feed
from sfpo_bench.tracking.store_warnings import StoreWarnings
from sfpo_bench.tracking.stores import delivery_of
from sfpo_bench.training.checkpoint import covered_bytes
from sfpo_bench.training.run import is_finished, plain_node, prepare, train, training_of
from sfpo_bench.workers.build import build_launcher
from sfpo_bench.workers.drive import STOPPING, drive
from sfpo_bench.workers.job import Job, JobEnding
from sfpo_bench.workers.machine_faults import is_of_machine
from sfpo_bench.workers.slots import JobOutcome, WorkerSlots

_STORE_SECONDS = 5.0  # retry interval if the study's database does not respond
_SNAPSHOT_SECONDS = 2.0


def run_sweep(plan: PreparedSweep, slots: int, warnings: StoreWarnings | None = None) -> SweepFiles:
    """Search until the study has its trials, then write the report; all state is on disk at all times.

    Raises `Interrupted` on a stop request; `RunFailed` if too many trials failed in a row, all failed, or the machine
    failed; and `RunLocked` if another process works on the sweep and this one may not join.
    """
    identity.check(plan)
    sweep = SweepLoop(plan, slots, warnings)
    sweep.wait_for_others()
    identity.settle(plan)
    return sweep.run()


class SweepLoop:
    """The loop over one study."""

    def __init__(self, plan: PreparedSweep, slots: int, warnings: StoreWarnings | None = None) -> None:
        from sfpo_bench.search.samplers import sampler_of

        self._plan = plan
        self._settings = settings = plan.settings
        grid = plan.space.grid() if settings.sampler is SweepSampler.grid else []
        self._study = SharedStudy(
            plan.folder,
            plan.name,
            open_storage(settings.storage, plan.folder),
            [goal.minimise for goal in plan.goals],
            sampler_of(settings.sampler, settings.sampler_seed, settings.startup_trials, grid),
            pruner_of(settings),
            settings.lease_seconds,
        )
        self._slot_count = slots
        self._trials_over = 0
        self._others = finished_runs(plan.reuse)
        self._live: dict[int, LiveTrial] = {}
        self._runs: list[RunFolder] = SweepFolder(plan.folder).runs()
        self._failures_in_a_row = 0
        self._gave_up = ""
        self._halted = ""  # set by a fault of the machine
        self._further_failures: list[str] = []
        self._store_is_down_until = 0.0
        self._look_again_at = 0.0
        self._snapshot_at = 0.0
        self._board = Board(plan.name)
        self._warnings = warnings or StoreWarnings(self._say)

    # --- start ------------------------------------------------------------------------------------------------------

    def wait_for_others(self) -> None:
        """Wait until this process may work on the study: no wait if it may join others, else until there are none.

        The lease of a killed process expires, while a live process renews its lease.
        """
        if self._settings.attach:
            return
        until = first = self._study.others_until()
        if first > time.time():
            self._say(f"{self._plan.folder}: the last process of this sweep was heard of not long ago; waiting for it")
        while time.time() < until:
            time.sleep(min(0.2, max(0.0, until - time.time())))
            until = self._study.others_until()
            if until > first:
                raise RunLocked(
                    f"{self._plan.folder}: another process is working on this sweep; wait for it, or join it with "
                    "sweep.attach=true"
                )

    def run(self) -> SweepFiles:
        """Search, train more seeds of the best trials, and write the report, also after a stop."""
        if self._settings.retry:
            self._say(f"{self._study.retry_failed()} failed trials are tried again")
        stop = StopRequest()
        self._set_state(RunState.running)
        feed = self._feed()
        log = self._plan.folder / WORKERS_LOG
        launcher = build_launcher(self._plan.config.launching, self._settings.threads, log)
        slots = WorkerSlots(launcher, self._slot_count)
        state = RunState.interrupted
        try:
            if feed is not None:
                feed.start()
            with stop.listening(), self._board:
                self._search(slots, stop)
                if not (stop.reason or self._gave_up or self._halted or self._settings.attach):
                    self._more_seeds(slots, stop)
            state = self._state(stop)
        finally:
            slots.close()
            files = self._end(feed, state)
        self._raise_for_the_end(stop, files)
        return files

    def _raise_for_the_end(self, stop: StopRequest, files: SweepFiles) -> None:
        """Raise `RunFailed` or `Interrupted` unless the sweep is complete."""
        if self._halted:
            raise RunFailed(
                f"{self._halted}. This is no fault of the trial and is not counted as one; everything is kept in "
                f"{self._plan.folder}. Fix it and run the same command again: the trial continues"
            )
        if self._gave_up:
            raise RunFailed(
                f"{self._gave_up}. Fix the cause and run the same command again with sweep.retry=true; "
                "sweep.failures_in_a_row sets how many failures in a row are accepted"
            )
        if not stop.reason and (over := self._over()) and all(view.state == "failed" for view in over):
            raise RunFailed(
                f"all {len(over)} trials failed, so there is nothing to choose from; {files.report} has their causes. "
                "Fix them and run the same command again with sweep.retry=true"
            )
        if self._further_failures and not stop.reason:
            raise RunFailed(
                f"{len(self._further_failures)} runs with further seeds of the best trials failed, the last with: "
                f"{self._further_failures[-1]}. The trials are unchanged; fix the cause and run the same command "
                "again for the missing seeds"
            )
        if stop.reason:
            raise Interrupted(
                f"stopped ({stop.reason}); everything is kept in {self._plan.folder}. "
                "Run the same command again to resume"
            )

    def _state(self, stop: StopRequest) -> RunState:
        if self._gave_up or self._further_failures:
            return RunState.failed
        return RunState.interrupted if stop.reason or self._halted else RunState.finished

    def _end(self, feed: Feed | None, state: RunState) -> SweepFiles:
        try:
            self._study.release()
            self._snapshot(importances=True)
        except STORE_ERRORS as error:
            self._warnings.sweep(error)
        files = write_sweep_report(self._plan.folder)
        with suppress(OSError):  # of a full disk, say: what happened before is what the caller raises
            self._set_state(state)
        if feed is not None:
            feed.close(state, files.all())
        if not self._settings.keep_pruned:
            self._drop_pruned()
        return files

    def _set_state(self, state: RunState) -> None:
        """Record the state with the number of trials that were over at the last look; the process that was joined does
        this for all."""
        if not self._settings.attach:
            status = RunStatus(state, self._trials_over, max(self._trials_over, self._plan.trials))
            RunFolder(self._plan.folder).write_status(status)

    def _drop_pruned(self) -> None:
        """Remove the checkpoints of pruned trials, whose journals have been delivered."""
        for trial in load_sweep(self._plan.folder).trials:
            if trial.state == "pruned":
                for path in self._plan.folder.glob(f"trials/trial-{trial.number:04d}/seed-*/checkpoints"):
                    shutil.rmtree(path)

    # --- the loop -------------------------------------------------------------------------------------------------

    def _search(self, slots: WorkerSlots, stop: StopRequest) -> None:
        share, words = self._state_of_trials(self._study.views())
        self._board.begin(share, words)
        self._say(f"{self._plan.folder}: {words}; {self._slot_count} slots")
        drive(
            slots,
            [],
            lambda outcome: self._note(outcome, slots.is_stopping),
            lambda: bool(stop.reason or self._gave_up or self._halted),
            each_pass=lambda: self._is_under_way(slots),
            on_stop=lambda: self._say(STOPPING),
        )

    def _is_under_way(self, slots: WorkerSlots) -> bool:
        left = self._pass(slots)
        return bool(self._live) or (left and not slots.is_stopping)

    def _pass(self, slots: WorkerSlots) -> bool:
        """Advance every trial as far as possible; return False if none is left.

        If the store does not respond, runs continue, and their results are recorded once it does."""
        if time.monotonic() < self._store_is_down_until:
            return True
        try:
            if not self._study.renew():
                self._drop_what_others_took(slots)
            for live in list(self._live.values()):
                self._tend(slots, live)
            left = True
            while len(self._live) < self._slot_count and left and not (slots.is_stopping or self._gave_up):
                left = self._begin(slots)
            self._snapshot_now_and_then()
            return left or bool(self._live) or self._others_work()
        except STORE_ERRORS as error:
            self._store_is_down_until = time.monotonic() + _STORE_SECONDS
            self._warnings.sweep(error)
            return True

    def _begin(self, slots: WorkerSlots) -> bool:
        """Take a trial; return False if there is none."""
        if time.monotonic() < self._look_again_at:
            return False
        held = self._study.take(self._plan.space_of, self._plan.trials)
        if held is None:
            self._look_again_at = time.monotonic() + 1.0
            return False
        point = ", ".join(f"{name} = {short(value)}" for name, value in held.point.items())
        self._say(f"trial {held.number}{' continues' if held.taken_over else ''}: {point}")
        folders = [self._plan.run_folder(held.number, seed) for seed in self._plan.seeds(self._settings.seeds)]
        for folder in folders:
            forget_uncovered(RunFolder(folder))
        live = LiveTrial(held, folders, self._plan.goals, self._settings)
        self._live[held.number] = live
        try:
            live.node = self._plan.node(held.point)
        except ConfigError as error:
            live.failed = str(error)
        self._tend(slots, live)
        return True

    def _tend(self, slots: WorkerSlots, live: LiveTrial) -> None:
        """Watch the current run, start it or the next one, or record the end of the trial."""
        while True:
            if not live.failed:
                live.watch(ended=live.ended)
            if live.training:
                if live.pruned or live.spent:
                    slots.end(live.folder)
                return
            if live.failed or live.pruned or live.let_go:
                self._record_end(live)
                return
            if not (live.ended or live.spent):
                self._start(slots, live)
                return
            if live.is_last_seed:
                self._record_end(live)
                return
            live.next_seed()

    def _start(self, slots: WorkerSlots, live: LiveTrial) -> None:
        run = RunFolder(live.folder)
        assert live.node is not None
        node = plain_node(live.node, own_settings(live.seed, f"{live.folder.parent.name}-{live.folder.name}"))
        if is_finished(run, training_of(node)) or self._others.take(run, node, weights=False):
            self._know(run)
            live.ended = True
            self._tend(slots, live)
        elif slots.free:
            try:
                prepare(run, node, self._plan.config.device)
            except (BenchError, OSError) as error:
                if is_of_machine(error) or isinstance(error, MissingDataError):
                    self._halted, live.let_go = str(error), True
                elif isinstance(error, BenchError):
                    live.failed = str(error)
                else:
                    raise
                return
            self._know(run)
            live.training = True
            slots.start(Job.of(train, run.path))

    def _know(self, run: RunFolder) -> None:
        if all(known.path != run.path for known in self._runs):
            self._runs.append(run)

    def _note(self, outcome: JobOutcome, stopping: bool) -> None:
        """Record how a run ended; the next pass acts on it."""
        live = next((live for live in self._live.values() if live.folder == outcome.folder), None)
        if live is None:
            return
        live.training = False
        if outcome.ending == JobEnding.finished:
            live.ended = True
        elif outcome.ending == JobEnding.halted:
            self._halted, live.let_go = outcome.message, True
        elif outcome.ending != JobEnding.interrupted:
            live.failed = outcome.message or outcome.ending
        elif not (live.pruned or live.spent) and stopping:
            live.let_go = True

    def _record_end(self, live: LiveTrial) -> None:
        held = live.held
        if live.let_go and not live.pruned:
            self._study.let_go(held)
        elif live.failed:
            self._failures_in_a_row += 1
            self._study.fail(held, live.failed)
            self._report(held.number, f"failed: {live.failed}")
            if self._failures_in_a_row >= self._settings.failures_in_a_row:
                self._gave_up = f"{self._failures_in_a_row} trials failed in a row, the last with: {live.failed}"
        elif live.pruned:
            self._failures_in_a_row = 0
            run = RunFolder(live.folder)
            status = run.status()
            if status.state is not RunState.finished:
                run.write_status(RunStatus(RunState.interrupted, status.step, status.steps, f"pruned: {live.pruned}"))
            self._study.prune(held, live.pruned)
            self._report(held.number, f"pruned by the {live.pruned}")
        else:
            self._failures_in_a_row = 0
            values = live.values()
            censored = live.is_censored()
            self._study.complete(held, values, censored=censored)
            score = " (a score: the target was not reached)" if censored else ""
            self._report(held.number, f"complete: {', '.join(f'{value:.4g}' for value in values)}{score}")
        del self._live[held.number]
        self._snapshot_at = 0.0

    def _drop_what_others_took(self, slots: WorkerSlots) -> None:
        """Drop trials that other processes took over because this process's lease had expired."""
        for number, live in list(self._live.items()):
            if not self._study.owns(live.held):
                if live.training:
                    slots.end(live.folder)
                self._study.let_go(live.held)
                del self._live[number]
                self._say(f"trial {number} was taken over by another process")

    def _over(self) -> list[TrialView]:
        return [view for view in self._study.views() if view.state in OVER]

    def _others_work(self) -> bool:
        """Return True while a trial is unfinished that another process holds or that is unassigned."""
        if time.monotonic() < self._look_again_at - 0.9:
            return True
        return any(view.state in ("running", "lost", "waiting") for view in self._study.views())

    # --- more seeds for the best trials ---------------------------------------------------------------------------

    def _more_seeds(self, slots: WorkerSlots, stop: StopRequest) -> None:
        """Train further seeds of the best complete trials; this changes no trial, only the precision of its results."""
        pending = self._further_runs()
        if pending:
            self._say(f"{len(pending)} runs with further seeds for the best {self._settings.top_trials} trials")
        self._board.follow(lambda: _steps_done(pending))
        known = {run.path for run in self._runs}
        self._runs += [RunFolder(folder) for folder in pending if folder not in known]
        drive(
            slots,
            [Job.of(train, folder) for folder in pending],
            self._note_further,
            lambda: bool(stop.reason or self._halted),
            each_pass=self._look_after_runs,
        )

    def _look_after_runs(self) -> None:
        self._study.renew()
        self._board.refresh()

    def _note_further(self, outcome: JobOutcome) -> None:
        if outcome.ending != JobEnding.finished:
            self._say(f"{outcome.folder}: {outcome.ending} {outcome.message}")
        if outcome.ending == JobEnding.halted:
            self._halted = outcome.message
        elif outcome.ending in (JobEnding.failed, JobEnding.died):
            self._further_failures.append(f"{outcome.folder}: {outcome.message or outcome.ending}")

    def _further_runs(self) -> list[Path]:
        complete = [view for view in self._study.views() if view.state == "complete" and len(view.values) == 1]
        best = sorted(complete, key=lambda v: (v.values[0] if self._plan.goals[0].minimise else -v.values[0], v.number))
        pending = []
        for view in best[: self._settings.top_trials]:
            node = self._plan.node(view.point)
            for seed in self._plan.seeds(self._settings.top_seeds)[self._settings.seeds :]:
                run = RunFolder(self._plan.run_folder(view.number, seed))
                if not is_finished(run, training_of(node)):
                    name = f"{run.path.parent.name}-{run.path.name}"
                    prepare(run, plain_node(node, own_settings(seed, name)), self._plan.config.device)
                    pending.append(run.path)
        return pending

    # --- progress and tracking ------------------------------------------------------------------------------------

    def _feed(self) -> Feed | None:
        delivery = delivery_of(self._plan.config.tracking, Path(self._plan.config.output_root))
        if delivery is None:
            return None
        return Feed(delivery, RunFolder(self._plan.folder), self._runs, covered_bytes, self._warnings)

    def _snapshot_now_and_then(self) -> None:
        if time.monotonic() >= self._snapshot_at:
            self._snapshot_at = time.monotonic() + _SNAPSHOT_SECONDS
            self._snapshot(importances=False)

    def _snapshot(self, *, importances: bool) -> None:
        shares, views = self._study.importances() if importances else {}, self._study.views()
        seen = TrialsRecord(tuple(view.plain() for view in views), self._study.latest_lease(), dict(shares))
        SweepFolder(self._plan.folder).write_trials(seen)
        self._trials_over = sum(view.state in OVER for view in views)
        if not importances:
            self._board.update(*self._state_of_trials(views))

    def _state_of_trials(self, views: Sequence[TrialView]) -> State:
        """Return the completed share of the trials' work, with this process's trials by steps, and a description."""
        over = sum(view.state in OVER for view in views)
        shares = [live.share() for live in self._live.values()]
        words = f"{over} of {self._plan.trials} trials are over"
        if shares:
            words += f", {len(shares)} under way ({', '.join(f'{share:.0%}' for share in shares)})"
        return min(1.0, (over + sum(shares)) / self._plan.trials), words

    def _report(self, number: int, text: str) -> None:
        over = self._over()
        self._say(f"[{len(over)}/{self._plan.trials}] trial {number} {text}")

    def _say(self, text: str) -> None:
        self._board.say(text)


def short(value: Value) -> str:
    """Return a value with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _steps_done(folders: Sequence[Path]) -> State:
    """Return the completed share of the steps of further runs, and a description."""
    states = [RunFolder(folder).status() for folder in folders]
    done, wanted = sum(state.step for state in states), sum(state.wanted for state in states)
    return done / wanted if wanted else 1.0, f"further seeds: {done:,} of {wanted:,} steps done"
