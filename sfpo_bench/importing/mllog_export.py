"""Write a run as a log of MLPerf: its settings, and every evaluation with the number of responses before it.

The lines follow the rules of MLPerf's compliance checker for all benchmarks (`training_6.1.0/common.yaml`). No run here
can satisfy the rules for a single benchmark, which fix its model and its number of problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import EvaluationRecord
from sfpo_bench.importing.mllog import (
    ABORTED,
    ARM,
    SAMPLES,
    STATE,
    STATUS,
    STEP,
    SUCCESS,
    TARGET,
    Event,
    EventType,
    Key,
)
from sfpo_bench.reports.load import SeedRun, SeedStatus
from sfpo_bench.results.run_folder import RunFolder

# MLPerf's names of our settings.
_SETTINGS = {
    "num_prompts_per_step": "rollout.prompts",
    "num_generations_per_prompt": "rollout.group",
    "generation_training_rollout_temperature": "rollout.temperature",
    "generation_validation_rollout_temperature": "evaluation.temperature",
    "opt_name": "learner.optimizer",
    "opt_base_learning_rate": "learner.learning_rate",
    "opt_learning_rate_warmup_steps": "learner.warmup_steps",
    "opt_adamw_beta_1": "learner.beta1",
    "opt_adamw_beta_2": "learner.beta2",
    "opt_adamw_epsilon": "learner.eps",
    "opt_adamw_weight_decay": "learner.weight_decay",
    "opt_gradient_clip_norm": "learner.gradient_clip_norm",
    "max_steps": "training.steps",
}
_PRECISIONS = {"float32": "fp32", "float64": "fp64", "bfloat16": "bfloat16"}
_PRECISION_KEYS = tuple(f"lowest_numerical_precision_in_{part}" for part in ("linear", "attn", "comm"))
_PARALLELISM_KEYS = tuple(f"{kind}_parallelism" for kind in ("tensor", "pipeline", "context", "expert"))
_ENDED = (SeedStatus.finished, SeedStatus.failed)


@dataclass(frozen=True, slots=True)
class Submission:
    """The submitter and benchmark of a log. `target` is the accuracy at which a run is a success; 0 for none."""

    benchmark: str
    org: str
    platform: str
    target: float = 0.0


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run with the label of its arm, the cost axes that it recorded, and its settings by dotted key."""

    run: SeedRun
    label: str
    axes: Sequence[str]
    settings: Mapping[str, object] = field(default_factory=dict)


def log_text(exported: ExportedRun, about: Submission) -> str:
    """Return the log of a run as text. Raises `ConfigError` for a run without evaluations or a count of responses."""
    run = exported.run
    if not run.curve:
        raise ConfigError(f"arm {exported.label!r}, seed {run.seed} has no evaluation yet; expected at least one")
    if CostAxis.responses not in exported.axes:
        raise ConfigError(
            f"the runs did not record responses, which a log of MLPerf needs as its samples; found "
            f"{', '.join(exported.axes)}"
        )
    return "".join(event.line() + "\n" for event in _events(exported, about))


def _events(exported: ExportedRun, about: Submission) -> Iterator[Event]:
    """Yield every event in order.

    Times are the run's start plus its `total_seconds`, so the time between two processes of a run is excluded.
    """
    started = exported.run.provenance.get("started_unix_s")
    start = round(1000 * started) if isinstance(started, (int, float)) else 0
    yield Event(Key.cache_clear, True, start)
    yield Event(Key.init_start, None, start, EventType.start)
    for key, value in _facts(exported, about).items():
        yield Event(key, value, start)
    yield Event(Key.init_stop, None, start, EventType.end)
    yield Event(Key.run_start, None, start, EventType.start)
    end, trained = start, 0
    for record in exported.run.curve:
        begins = max(end, start + round(1000 * _clock(exported, record)))
        yield Event(Key.block_start, None, end, EventType.start, {SAMPLES: trained})
        trained, end = record.costs.responses, begins + round(1000 * record.seconds)
        yield Event(Key.block_stop, None, begins, EventType.end, {SAMPLES: trained})
        yield Event(Key.eval_start, None, begins, EventType.start, {SAMPLES: trained})
        yield Event(Key.eval_accuracy, record.accuracy, end, metadata=_told(exported, record))
        yield Event(Key.eval_stop, None, end, EventType.end, {SAMPLES: trained})
    if exported.run.status in _ENDED:
        yield Event(
            Key.run_stop, None, end, EventType.end, {STATUS: _status(exported.run, about), STATE: exported.run.status}
        )


def _facts(exported: ExportedRun, about: Submission) -> Mapping[str, object]:
    """Return the events before the run by key. Unknown settings are absent."""
    known = {key: exported.settings[name] for key, name in _SETTINGS.items() if name in exported.settings}
    facts: dict[str, object] = {
        Key.benchmark: about.benchmark,
        "submission_org": about.org,
        "submission_division": "open",
        "submission_platform": about.platform,
        "submission_status": "research",
        ARM: exported.label,
        Key.seed: exported.run.seed,
        **known,
        Key.train_samples: exported.run.curve[-1].costs.responses,
    }
    if exported.run.curve[-1].n:
        facts[Key.eval_samples] = exported.run.curve[-1].n
    if {"num_prompts_per_step", "num_generations_per_prompt"} <= known.keys():
        batch = int(str(known["num_prompts_per_step"])) * int(str(known["num_generations_per_prompt"]))
        # Micro-batches are bounded in tokens (learner.micro_batch_tokens); the whole batch is the upper bound.
        facts |= {Key.batch: batch, "micro_batch_size": batch}
    if (precision := _PRECISIONS.get(str(exported.settings.get("learner.precision")))) is not None:
        facts |= dict.fromkeys(_PRECISION_KEYS, precision) | dict.fromkeys(_PARALLELISM_KEYS, 1)
        facts["config_filename"] = RunFolder(Path()).config.name
    if about.target:
        facts[TARGET] = about.target
    return facts


def _clock(exported: ExportedRun, record: EvaluationRecord) -> float:
    """Return the seconds of the run before an evaluation, 0 if it recorded no time."""
    timed = next((axis for axis in (CostAxis.total_seconds, CostAxis.train_seconds) if axis in exported.axes), None)
    return record.costs.on(timed) if timed is not None else 0.0


def _told(exported: ExportedRun, record: EvaluationRecord) -> Mapping[str, object]:
    """Return the metadata of an accuracy: samples, step, number of evaluated responses, and recorded costs."""
    size = {Key.eval_samples.value: record.n} if record.n else {}
    costs = {axis: getattr(record.costs, axis) for axis in exported.axes if axis != CostAxis.responses}
    return {SAMPLES: record.costs.responses, STEP: record.step, **size, **costs}


def _status(run: SeedRun, about: Submission) -> str:
    """Return success for a finished run that reached the target or had none, else aborted."""
    reached = not about.target or any(record.accuracy >= about.target for record in run.curve)
    return SUCCESS if run.status is SeedStatus.finished and reached else ABORTED
