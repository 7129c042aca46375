"""The training loop. It is blind to which algorithm runs: SFPO touches nothing but the update rule."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from statistics import fmean

import torch

from sfpo_bench.algorithms.protocols import Objective, UpdateRule
from sfpo_bench.errors import BenchError, EngineFailed, EngineMismatch, Interrupted, RunFailed
from sfpo_bench.grading import GradingFailures, failures_so_far
from sfpo_bench.rollout.protocol import NoiseStream, RolloutEngine, Sampling
from sfpo_bench.seeding import stream_key
from sfpo_bench.tasks.protocol import Task, grade_all
from sfpo_bench.tracking.journal import JournalWriter, cut, read_journal
from sfpo_bench.tracking.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.training.batch import assemble
from sfpo_bench.training.checkpoint import CheckpointStore, TrainingState
from sfpo_bench.training.evaluation import Evaluator
from sfpo_bench.training.learner import LocalLearner, StepReadings
from sfpo_bench.training.rollouts import GradedRollouts, ProblemSchedule, group_requests
from sfpo_bench.training.settings import TrainingSettings
from sfpo_bench.training.stop import StopRequest
from sfpo_bench.types import (
    Completion,
    Costs,
    EvaluationRecord,
    EventRecord,
    FinishReason,
    Grade,
    GradeStatus,
    JournalRecord,
    Split,
    StageStats,
    StepRecord,
)

Observer = Callable[[JournalRecord], None]
OnCheckpoint = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """The four seams and what joins them."""

    task: Task
    objective: Objective
    rule: UpdateRule
    engine: RolloutEngine
    learner: LocalLearner
    evaluator: Evaluator
    schedule: ProblemSchedule
    sampling: Sampling
    group: int
    seed: int
    settings: TrainingSettings
    dropped_prompts: Mapping[Split, int] = field(default_factory=dict)


@dataclass(slots=True)
class Stopwatch:
    """Seconds of the named parts of a step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[f"{name}_seconds"] = time.perf_counter() - started


class Trainer:
    """Trains one run in its folder, from its last whole checkpoint if it has one.

    `observe` is told every journal record as it is written; `on_checkpoint` the journal length that a new checkpoint
    covers. `started` is the `time.perf_counter()` from which total seconds count.
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
        self._observe = observe
        self._on_checkpoint = on_checkpoint
        self._started = time.perf_counter() if started is None else started
        self._store = CheckpointStore(folder.checkpoints, parts.settings.keep_last, parts.settings.keep_every)
        self._costs = Costs()
        self._total_seconds_before = 0.0
        self._best = (-1, -1.0)
        self._checkpoint_seconds = 0.0
        self._done = self._evaluated = -1
        self._engine_failure: RunFailed | None = None
        self._failures = GradingFailures()

    @property
    def device(self) -> str:
        """What the policy computes on: `cpu`, or a GPU by its model name."""
        device = next(iter(self._parts.learner.weights().values())).device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

    def run(self) -> None:
        """Train to the last step.

        Raises `Interrupted` after a checkpoint when asked to stop, `RunFailed` when the run cannot go on, `RunLocked`
        when another process works in the folder.
        """
        with self._folder.locked(), self._stop.listening():
            first = self._resume()
            with JournalWriter(self._folder.journal) as journal, JournalWriter(self._folder.samples) as samples:
                self._journal, self._samples = journal, samples
                try:
                    self._train(first)
                except Interrupted:
                    raise
                except BenchError as error:
                    if isinstance(error, EngineFailed | EngineMismatch):
                        self._keep_what_is_done()
                    with suppress(OSError):  # The disk may be what failed.
                        self._write_status(RunState.failed, str(error))
                    raise
                finally:
                    self._parts.engine.close()

    def _keep_what_is_done(self) -> None:
        """A checkpoint of the last whole step, when the engine is lost and the learner is not."""
        newest = self._store.newest()
        if self._done > 0 and (newest is None or newest.step < self._done):
            self._checkpoint(self._done)

    def _train(self, first: int) -> None:
        steps = self._parts.settings.steps
        started = self._parts.engine.started()
        if started:
            self._write([EventRecord(first - 1, time.time(), "engine_started", started)])
        if first == 1:
            self._note_dropped_prompts()
            self._evaluate(0)
        elif self._evaluation_is_due(first - 1) and self._evaluated < first - 1:
            self._evaluate(first - 1)
        for step in range(first, steps + 1):
            self._step(step)
            if self._evaluation_is_due(step):
                self._evaluate(step)
            reason = self._stop.reason
            if self._checkpoint_is_due(step) or reason is not None:
                self._checkpoint(step)
            if reason is not None and step < steps:
                self._write_status(RunState.interrupted, step=step)
                raise Interrupted(
                    f"stopped at step {step} of {steps} ({reason}); everything is kept in {self._folder.path}. "
                    "Run the same command again to resume"
                )
        self._write_status(RunState.finished, step=steps)

    def _note_dropped_prompts(self) -> None:
        dropped = {split.value: float(count) for split, count in self._parts.dropped_prompts.items() if count}
        if dropped:
            self._write([EventRecord(0, time.time(), "over_long_prompts_dropped", dropped)])

    def _step(self, step: int) -> None:
        """One step of the method: roll out, grade, update, hand over the weights."""
        parts, clock = self._parts, Stopwatch()
        cpu_started = time.process_time()
        torch.manual_seed(stream_key(parts.seed, "torch", step))
        with clock("step"):
            with clock("rollout"):
                problems = parts.schedule.at(step)
                requests = group_requests(problems, parts.group)
                noise = NoiseStream(parts.seed, "rollout", step)
                completions = parts.engine.generate(requests, parts.sampling, noise)
            with clock("grading"):
                owners = [item.problem for item in problems for _ in range(parts.group)]
                grades = grade_all(parts.task, owners, completions)
                self._failures.count(grade.status for grade in grades)
                grades = [self._in_training(grade, c) for grade, c in zip(grades, completions, strict=True)]
            rollouts = GradedRollouts(problems, completions, grades, parts.group)
            advantages_B = self._advantages(rollouts)
            with clock("update"):
                parts.engine.rest()
                device = next(iter(parts.learner.weights().values())).device
                batch = assemble(completions, advantages_B, parts.sampling.max_new_tokens, device)
                parts.learner.begin_step(step, batch)
                stages = parts.rule.update(parts.learner, batch)
                readings = parts.learner.end_step()
            fired = parts.rule.observe(step, readings.entropy)
            with clock("push"):
                self._push()
        self._spend(rollouts, stages, clock.seconds["step_seconds"], time.process_time() - cpu_started)
        self._record(step, rollouts, advantages_B.tolist(), stages, readings, clock.seconds, fired=fired)
        self._done = step
        if self._engine_failure is not None:
            raise self._engine_failure

    def _push(self) -> None:
        """Hand the weights to the engine. Its failure waits until the step, whose update is done, is recorded."""
        try:
            self._parts.engine.load(self._parts.learner.weights())
        except (EngineFailed, EngineMismatch) as error:
            self._engine_failure = error

    def _in_training(self, grade: Grade, completion: Completion) -> Grade:
        """The task's grade, plus the reward in training of an answer that is given and wrong."""
        given = completion.finish_reason is FinishReason.stopped and grade.status is GradeStatus.wrong
        return replace(grade, reward=grade.reward + self._parts.settings.wrong_answer_reward) if given else grade

    def _advantages(self, rollouts: GradedRollouts) -> torch.Tensor:
        rewards = [grade.reward for grade in rollouts.grades]
        if not all(map(math.isfinite, rewards)):
            raise RunFailed(f"the grader returned rewards {set(rewards)}, expected finite numbers; mend the reward")
        rewards_PG = torch.tensor(rewards, dtype=torch.float32).view(-1, rollouts.group)
        return self._parts.objective.advantages(rewards_PG).reshape(-1)

    def _spend(
        self, rollouts: GradedRollouts, stages: Sequence[StageStats], seconds: float, cpu_seconds: float
    ) -> None:
        spent = self._costs
        self._costs = Costs(
            prompts=spent.prompts + len(rollouts.problems),
            responses=spent.responses + len(rollouts.completions),
            tokens=spent.tokens + rollouts.tokens,
            optimizer_steps=spent.optimizer_steps + sum(stage.optimizer_steps for stage in stages),
            train_seconds=spent.train_seconds + seconds,
            total_seconds=self._total_seconds(),
            cpu_seconds=spent.cpu_seconds + cpu_seconds,
        )

    def _record(
        self,
        step: int,
        rollouts: GradedRollouts,
        advantages: list[float],
        stages: tuple[StageStats, ...],
        readings: StepReadings,
        seconds: Mapping[str, float],
        *,
        fired: bool,
    ) -> None:
        settings = self._parts.settings
        metrics = {
            **rollouts.metrics(advantages),
            **self._parts.rule.metrics(),
            **step_metrics(stages, readings, seconds),
            **self._parts.engine.metrics(),
            "checkpoint_seconds": self._checkpoint_seconds,
        }
        self._checkpoint_seconds = 0.0
        self._write([StepRecord(step, time.time(), self._costs, metrics, stages)])
        skipped = sum(stage.skipped_optimizer_steps for stage in stages)
        if skipped:
            self._write([EventRecord(step, time.time(), "optimizer_step_skipped", {"count": skipped})])
        if fired:
            self._write([EventRecord(step, time.time(), "trigger_fired", {"entropy": readings.entropy})])
        if step in (1, settings.steps) or step % settings.samples_every == 0:
            self._samples.append(rollouts.samples(step, advantages))

    def _evaluate(self, step: int) -> None:
        self._costs = replace(self._costs, total_seconds=self._total_seconds())
        records = self._parts.evaluator.evaluate(step, self._costs)
        self._write(records)
        for record in records:
            self._failures.count(GradeStatus(name) for name, count in record.statuses.items() for _ in range(count))
        chosen_on = [r for r in records if r.split is Split.select and r.mode == "sampled"]
        self._evaluated = step
        if chosen_on and step > 0:
            accuracy = fmean(record.accuracy for record in chosen_on)
            if accuracy > self._best[1]:
                self._best = (step, accuracy)

    def _evaluation_is_due(self, step: int) -> bool:
        return step % self._parts.settings.evaluate_every == 0 or step == self._parts.settings.steps

    def _checkpoint_is_due(self, step: int) -> bool:
        settings = self._parts.settings
        kept = settings.keep_every > 0 and step % settings.keep_every == 0
        return kept or step % settings.checkpoint_every == 0 or step == settings.steps or self._best[0] == step

    def _checkpoint(self, step: int) -> None:
        started = time.perf_counter()
        self._costs = replace(self._costs, total_seconds=self._total_seconds())
        covered = self._journal.length()
        state = TrainingState(
            step=step,
            costs=self._costs,
            rule=self._parts.rule.state(),
            journal_bytes=covered,
            samples_bytes=self._samples.length(),
            best_step=self._best[0],
            best_accuracy=self._best[1],
        )
        self._store.write(self._parts.learner.masters, state)
        self._checkpoint_seconds = time.perf_counter() - started
        self._write_status(RunState.running, step=step)
        self._on_checkpoint(covered)

    def _resume(self) -> int:
        """Take up the newest checkpoint, cut the journals to what it covers; returns the first step to take."""
        self._store.sweep()
        newest = self._store.newest()
        state = newest.state() if newest is not None else None
        # Work that a kill undid was spent all the same.
        spent = [r.costs.total_seconds for r in read_journal(self._folder.journal) if not isinstance(r, EventRecord)]
        self._total_seconds_before = max(spent, default=0.0)
        cut(self._folder.journal, state.journal_bytes if state else 0)
        cut(self._folder.samples, state.samples_bytes if state else 0)
        if newest is not None and state is not None:
            newest.load_into(self._parts.learner.masters)
            self._parts.rule.restore(state.rule)
            self._parts.engine.load(self._parts.learner.weights())
            self._costs, self._best = state.costs, (state.best_step, state.best_accuracy)
        first = state.step + 1 if state else 1
        self._done = first - 1
        kept = list(read_journal(self._folder.journal))
        self._evaluated = max((r.step for r in kept if isinstance(r, EvaluationRecord)), default=-1)
        self._failures = failures_so_far(kept)
        with open(self._folder.sessions, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"time_unix_s": time.time(), "pid": os.getpid(), "first_step": first}) + "\n")
        self._write_status(RunState.running, step=first - 1)
        return first

    def _total_seconds(self) -> float:
        return self._total_seconds_before + time.perf_counter() - self._started

    def _write(self, records: Sequence[StepRecord | EvaluationRecord | EventRecord]) -> None:
        self._journal.append(records)
        for record in records:
            self._observe(record)

    def _write_status(self, state: RunState, cause: str = "", step: int | None = None) -> None:
        done = self._folder.status().step if step is None else step
        self._folder.write_status(RunStatus(state, done, self._parts.settings.steps, cause))


def step_metrics(
    stages: Sequence[StageStats], readings: StepReadings, seconds: Mapping[str, float]
) -> dict[str, float]:
    """The step's scalars that follow from the update and the clocks."""
    fast_seconds = sum(stage.seconds for stage in stages if stage.stage.startswith("fast"))
    metrics = {
        "entropy": readings.entropy,
        "engine_ratio_mean": readings.mismatch.ratio_mean,
        "engine_ratio_max": readings.mismatch.ratio_max,
        "engine_effective_sample_share": readings.mismatch.effective_sample_share,
        "displacement": readings.displacement,
        "learning_rate": readings.learning_rate,
        "old_log_prob_seconds": readings.old_log_prob_seconds,
        "fast_seconds": fast_seconds,
        "reposition_seconds": readings.reposition_seconds,
        "slow_seconds": sum(stage.seconds for stage in stages) - fast_seconds,
        "reposition_share": readings.reposition_seconds / seconds["step_seconds"],
        **seconds,
    }
    if readings.fast_slow_cosine is not None:
        metrics["fast_slow_cosine"] = readings.fast_slow_cosine
    return metrics
