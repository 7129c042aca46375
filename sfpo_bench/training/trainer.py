"""The training loop. It does not depend on the algorithm: SFPO differs from GRPO in its update rule only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from statistics import fmean

import torch

from sfpo_bench.algorithms.collectors.protocol import Collector
from sfpo_bench.algorithms.phases import MethodSchedule
from sfpo_bench.algorithms.protocols import Rewarded, StepMethod
from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import BenchError, EngineFailed, EngineMismatch, Interrupted, RunFailed
from sfpo_bench.core.seeding import generator, stream_key
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.types import EvaluationRecord, EventRecord, GradeStatus, Split, StageStats, StepRecord
from sfpo_bench.grading import GradingFailures
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.rollout.protocol import RolloutEngine
from sfpo_bench.settings.training import TrainingSettings
from sfpo_bench.training.batch import TrainBatch, assemble
from sfpo_bench.training.checkpoint import CheckpointStore, ReadPart, TrainingState
from sfpo_bench.training.device_peaks import Peak
from sfpo_bench.training.evaluation import Evaluator
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.logbook import Covered, FolderLogbook, Logbook, NoLogbook, Observer
from sfpo_bench.training.modules import TrainedModules, no_modules
from sfpo_bench.training.ranks import ALONE, Ranks
from sfpo_bench.training.rollouts import GradedRollouts, Sampler, Stopwatch
from sfpo_bench.training.throughput import Machine, PassTokens

OnCheckpoint = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a trainer. `methods` gives each step's method, `ranks` are the processes that train this run."""

    sampler: Sampler
    collector: Collector
    methods: MethodSchedule
    engine: RolloutEngine
    learner: LocalLearner
    evaluator: Evaluator
    seed: int
    settings: TrainingSettings
    machine: Machine
    dropped_prompts: Mapping[Split, int] = field(default_factory=dict)
    ranks: Ranks = ALONE
    modules: TrainedModules = field(default_factory=no_modules)


class Trainer:
    """Trains one run in its folder, from its last complete checkpoint if it has one.

    `observe` receives every journal record, `on_checkpoint` the journal length that a new checkpoint covers. `started`
    is the `time.perf_counter()` from which total seconds count. Every rank runs this loop on its share of the rollouts;
    rank 0 writes.
    """

    def __init__(
        self,
        parts: Parts,
        folder: RunFolder,
        stop: StopRequest,
        observe: Observer = lambda record: None,
        on_checkpoint: OnCheckpoint = lambda covered_bytes: None,
        started: float | None = None,
    ) -> None:
        self._parts = parts
        self._folder = folder
        self._stop = stop
        self._on_checkpoint = on_checkpoint
        self._started = time.perf_counter() if started is None else started
        settings = parts.settings
        self._store = CheckpointStore(folder.checkpoints, settings.keep_last, settings.keep_every, parts.ranks)
        self._log: Logbook = NoLogbook()
        if parts.ranks.is_first:
            self._log = FolderLogbook(folder, settings.steps, observe)
        self._costs = Costs()
        self._total_seconds_before = 0.0
        self._best = (-1, -1.0)
        self._checkpoint_seconds = 0.0
        self._done = -1
        self._evaluations: list[EvaluationRecord] = []
        self._engine_failure: RunFailed | None = None
        self._failures = GradingFailures()

    @property
    def device(self) -> str:
        """The policy's device: `cpu`, or the model name of the GPU."""
        device = self._parts.learner.placed.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

    @property
    def peak(self) -> Peak:
        """The most that one device computes."""
        return self._parts.machine.peak

    def run(self) -> None:
        """Train to the last step, or until the stop rule ends the run.

        Raises `Interrupted` after a checkpoint when a stop is requested, `RunFailed` when the run cannot continue, and
        `RunLocked` when another process holds the folder's lock.
        """
        with ExitStack() as held:
            held.callback(self._parts.engine.close)
            with self._parts.ranks.together():
                held.enter_context(self._log.opened())
            held.enter_context(self._stop.listening())
            try:
                self._train(self._resume())
            except Interrupted:
                raise
            except BenchError as error:
                if isinstance(error, EngineFailed | EngineMismatch):
                    self._save_completed_steps()
                with suppress(OSError):  # the disk may have failed
                    self._log.status(RunState.failed, str(error))
                raise

    def _save_completed_steps(self) -> None:
        """Write a checkpoint of the last complete step when the engine has failed and the learner has not."""
        newest = self._store.newest()
        if self._done > 0 and (newest is None or newest.step < self._done):
            self._checkpoint(self._done)

    def _train(self, first: int) -> None:
        steps = self._parts.settings.steps
        started = self._parts.engine.started()
        if started:
            self._log.write([EventRecord(first - 1, time.time(), "engine_started", started)])
        if first == 1:
            self._note_dropped_prompts()
        evaluated = max((record.step for record in self._evaluations), default=-1)
        if self._parts.settings.evaluates_after(first - 1) and evaluated < first - 1:
            self._evaluate(first - 1)
        step = first - 1
        while step < steps and not self._is_at_target():
            step += 1
            self._step(step)
            if self._parts.settings.evaluates_after(step):
                self._evaluate(step)
            reason = self._reason_to_stop()
            if self._checkpoint_is_due(step) or reason is not None:
                self._checkpoint(step)
            if reason is not None and step < steps and not self._is_at_target():
                self._log.status(RunState.interrupted, step=step)
                raise Interrupted(
                    f"stopped at step {step} of {steps} ({reason}); everything is kept in {self._folder.path}. "
                    "Run the same command again to resume"
                )
        self._log.status(RunState.finished, step=step, at_target=self._is_at_target())

    def _is_at_target(self) -> bool:
        """True when the stop rule ends the run; equal on all ranks, which have all evaluations."""
        return self._parts.settings.stop_at.reached_at(self._evaluations) is not None

    def _reason_to_stop(self) -> str | None:
        """The reason to stop if any rank has a stop request, so that all ranks stop after the same step."""
        reason = self._stop.reason
        return next(iter(self._parts.ranks.gather([reason] if reason else [])), None)

    def _note_dropped_prompts(self) -> None:
        dropped = {split.value: float(count) for split, count in self._parts.dropped_prompts.items() if count}
        if dropped:
            self._log.write([EventRecord(0, time.time(), "over_long_prompts_dropped", dropped)])

    def _step(self, step: int) -> None:
        """Take one training step: collect, advantages and selection, update, weight sync, record."""
        parts, ranks, clock = self._parts, self._parts.ranks, Stopwatch()
        method = parts.methods.at(step)
        cpu_started = time.process_time()
        parts.machine.begin_step()
        # Seed torch's generator by step, so that a plug-in's dropout is also a function of the step.
        torch.manual_seed(stream_key(parts.seed, "torch", step))
        with clock("step"):
            source = parts.sampler.at(step, clock, self._failures.count)
            collected = parts.collector.collect(source)
            rollouts = GradedRollouts(source.with_old_log_probs(collected.trajectories))
            fresh = rollouts.fresh
            scores = parts.modules.scores(rollouts.completions)
            rewarded = self._rewarded(rollouts, scores)
            advantages_BT = _by_response(method.advantage.advantages(rewarded), rewarded)
            parts.collector.observe(fresh.trajectories, advantages_BT)
            with clock("update"):
                with ranks.together():
                    parts.engine.free_memory()
                batch = self._selected(step, rollouts, scores, advantages_BT, method)
                parts.learner.begin_step(step, batch, method.objective, method.rate_factor)
                stages = method.rule.update(parts.learner, batch)
                readings = parts.learner.end_step()
                trained = parts.modules.train(step, fresh.completions, rewarded, method.advantage)
            fired = method.rule.observe(step, readings.entropy)
            method.objective.observe(step, readings.entropy, float(rewarded.rewards_PG.mean()))
            with clock("push"):
                self._push()
        [cpu_seconds] = ranks.sums([time.process_time() - cpu_started])
        work = PassTokens.of(batch, needs_every_row=method.objective.needs_every_row)
        costs = parts.machine.metrics(clock.seconds, source.spent.tokens, work, len(stages))
        costs |= {key: ranks.largest(value) for key, value in parts.machine.memory().items()}
        self._add_costs(source.spent, stages, clock.seconds["step_seconds"], cpu_seconds)
        measured = {**source.metrics(), **collected.metrics, **method.rule.metrics(stages), **readings.metrics()}
        self._record(step, fresh, advantages_BT, stages, {**measured, **trained, **clock.seconds, **costs}, fired=fired)
        self._done = step
        # Raised after the record: the update is done, and the run resumes with the next step.
        if self._engine_failure is not None:
            raise self._engine_failure

    def _push(self) -> None:
        """Sync the weights to the engine. A failure is raised after the step, whose update is done, is recorded."""
        failures: list[RunFailed] = []
        try:
            self._parts.engine.load(self._parts.learner.weights())
        except (EngineFailed, EngineMismatch) as error:
            failures.append(error)
        self._engine_failure = next(iter(self._parts.ranks.gather(failures)), None)

    def _rewarded(self, rollouts: GradedRollouts, scores: Mapping[str, torch.Tensor]) -> Rewarded:
        """The rewards of this step's responses, and their scores from trained modules."""
        rewarded = rollouts.fresh.rewarded(self._parts.sampler.sampling.max_new_tokens)
        return replace(rewarded, scores={name: rollouts.of_fresh(found) for name, found in scores.items()})

    def _selected(
        self,
        step: int,
        rollouts: GradedRollouts,
        scores: Mapping[str, torch.Tensor],
        advantages_BT: torch.Tensor,
        method: StepMethod,
    ) -> TrainBatch:
        """The training batch with the selection's weights, or with None where all weights are 1."""
        parts = self._parts
        limit = parts.sampler.sampling.max_new_tokens
        loss_from, groups = zip(*((one.loss_from, one.group) for one in rollouts.trajectories), strict=True)
        joined_BT = rollouts.with_brought(advantages_BT)
        batch = assemble(rollouts.completions, joined_BT, limit, loss_from, groups)
        batch = replace(batch, scores=scores)
        brought_BT = rollouts.old_log_probs_BT()
        if brought_BT is not None:
            batch = replace(batch, old_log_probs_BT=brought_BT)
        draws = generator(parts.seed, "selection", step)  # by step, so that a resumed run draws the same numbers
        weights = method.selection.weights(rollouts.fresh.candidates(advantages_BT, draws))
        weights = rollouts.fresh.without_left_out(weights)
        return batch if weights is None else batch.weighted(rollouts.with_ones(weights))

    def _add_costs(self, sampled: Costs, stages: Sequence[StageStats], seconds: float, cpu_seconds: float) -> None:
        spent = self._costs
        self._costs = Costs(
            prompts=spent.prompts + sampled.prompts,
            responses=spent.responses + sampled.responses,
            tokens=spent.tokens + sampled.tokens,
            optimizer_steps=spent.optimizer_steps + sum(stage.optimizer_steps for stage in stages),
            train_seconds=spent.train_seconds + seconds,
            total_seconds=self._total_seconds(),
            cpu_seconds=spent.cpu_seconds + cpu_seconds,
        )

    def _record(
        self,
        step: int,
        rollouts: GradedRollouts,
        advantages_BT: torch.Tensor,
        stages: tuple[StageStats, ...],
        measured: Mapping[str, float],
        *,
        fired: bool,
    ) -> None:
        settings, advantages = self._parts.settings, rollouts.means(advantages_BT)
        metrics = {
            **rollouts.metrics(advantages),
            **measured,
            **self._parts.engine.metrics(),
            "checkpoint_seconds": self._checkpoint_seconds,
        }
        self._checkpoint_seconds = 0.0
        self._log.write([StepRecord(step, time.time(), self._costs, metrics, stages)])
        skipped = sum(stage.skipped_optimizer_steps for stage in stages)
        if skipped:
            self._log.write([EventRecord(step, time.time(), "optimizer_step_skipped", {"count": skipped})])
        if fired:
            self._log.write([EventRecord(step, time.time(), "trigger_fired", {"entropy": measured["entropy"]})])
        if step in (1, settings.steps) or step % settings.samples_every == 0:
            self._log.write_samples(rollouts.samples(step, advantages))

    def _evaluate(self, step: int) -> None:
        self._costs = replace(self._costs, total_seconds=self._total_seconds())
        records = self._parts.evaluator.evaluate(step, self._costs)
        self._log.write(records)
        for record in records:
            self._failures.count(GradeStatus(name) for name, count in record.statuses.items() for _ in range(count))
        chosen_on = [r for r in records if r.split is Split.select and r.mode == "sampled"]
        self._evaluations += records
        if chosen_on and step > 0:
            accuracy = fmean(record.accuracy for record in chosen_on)
            if accuracy > self._best[1]:
                self._best = (step, accuracy)

    def _checkpoint_is_due(self, step: int) -> bool:
        settings = self._parts.settings
        kept = settings.keep_every > 0 and step % settings.keep_every == 0
        is_last = step == settings.steps or self._is_at_target()
        return kept or step % settings.checkpoint_every == 0 or is_last or self._best[0] == step

    def _checkpoint(self, step: int) -> None:
        started = time.perf_counter()
        self._costs = replace(self._costs, total_seconds=self._total_seconds())
        covered = self._log.covered()
        state = TrainingState(
            step=step,
            costs=self._costs,
            rule=self._parts.methods.state(),
            collector=self._parts.collector.state(),
            journal_bytes=covered.journal_bytes,
            samples_bytes=covered.samples_bytes,
            best_step=self._best[0],
            best_accuracy=self._best[1],
        )
        beside = {**self._parts.learner.tensors_beside(), **self._parts.modules.tensors()}
        self._store.write(self._parts.learner.masters, state, beside)
        self._checkpoint_seconds = time.perf_counter() - started
        self._log.status(RunState.running, step=step)
        if self._parts.ranks.is_first:
            self._on_checkpoint(covered.journal_bytes)

    def _resume(self) -> int:
        """Load the newest checkpoint, truncate the journals to it, and return the first step to take."""
        ranks = self._parts.ranks
        with ranks.together():
            self._store.sweep()
        newest = ranks.first(self._store.newest())
        state = newest.state() if newest is not None else None
        first = state.step + 1 if state else 1
        with ranks.together():
            past = self._log.take_up(Covered(state.journal_bytes, state.samples_bytes) if state else Covered(), first)
        past = ranks.first(past)
        self._total_seconds_before, self._failures = past.total_seconds, past.failures
        self._evaluations = list(past.evaluations)
        if newest is not None and state is not None:
            newest.load_into(self._parts.learner.masters, self._load_beside)
            self._parts.methods.restore(state.rule)
            self._parts.collector.restore(state.collector)
            self._parts.engine.load(self._parts.learner.weights())
            self._costs, self._best = state.costs, (state.best_step, state.best_accuracy)
        self._done = first - 1
        return first

    def _load_beside(self, read: ReadPart) -> None:
        self._parts.learner.load_beside(read)
        self._parts.modules.load(read)

    def _total_seconds(self) -> float:
        return self._total_seconds_before + time.perf_counter() - self._started


def _by_response(advantages: torch.Tensor, rewarded: Rewarded) -> torch.Tensor:
    """Advantages per response, [B, 1], or per token, [B, T]."""
    return advantages.reshape(-1, 1) if advantages.shape == rewarded.rewards_PG.shape else advantages
