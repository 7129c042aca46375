"""Runs one evaluation: determines missing samples, generates, grades, scores and writes them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import check_ranges
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation.generation import Wanted, asked_for, missing
from sfpo_bench.evaluation.grading import Limits, grade_samples
from sfpo_bench.evaluation.prompted_problems import Benchmark, prompted_benchmarks
from sfpo_bench.evaluation.record import Evaluation, read_evaluation
from sfpo_bench.evaluation.sample_source import source_of
from sfpo_bench.models.load import ModelSettings
from sfpo_bench.problems.sets import Suite, load_problem_set, overlaps, suite
from sfpo_bench.problems.training_sets import TrainingSets
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.evaluation import Asked, EvaluationFolder, ModelPin, Owner, write_asked
from sfpo_bench.results.names import EVALUATIONS, check_name, check_root
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.sample_store import SampleStore, SamplingIdentity
from sfpo_bench.settings import config as configuration
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.training import Which
from sfpo_bench.training.checkpoint import Checkpoint, checkpoint_at, chosen_checkpoint

# A process whose parent was killed finishes its current batch.
_ORPHAN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class SampleProgress:
    """Callbacks for progress: the number of missing samples and the total at the start, then that of each batch."""

    start: Callable[[int, int], None] = lambda missing, asked: None
    done: Callable[[int], None] = lambda samples: None


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """A checked evaluation: everything that does not need the model."""

    settings: EvaluateSettings
    suite: Suite
    benchmarks: tuple[Benchmark, ...]
    model: ModelSettings
    checkpoint: Checkpoint | None
    owner: Owner
    folder: Path
    sampling: SamplingIdentity
    trained_on: tuple[str, ...]

    @property
    def store(self) -> SampleStore:
        return EvaluationFolder(self.folder).store(self.sampling)

    @property
    def asked(self) -> int:
        """Number of samples over all benchmarks."""
        return self.settings.sampling.samples * sum(len(benchmark.prompted) for benchmark in self.benchmarks)


def plan(settings: EvaluateSettings) -> EvaluationPlan:
    """Check the settings, read the benchmarks, find and pin the model.

    Raises `ConfigError` and its subclasses; torch is not imported.
    """
    check_ranges(settings)
    check_root(settings.output_root)
    if settings.label:
        check_name("label", settings.label)
    if settings.sampling.temperature == 0 and settings.sampling.samples > 1:
        raise ConfigError(
            f"sampling.temperature = 0 with sampling.samples = {settings.sampling.samples}: greedy decoding gives the "
            "same response every time; set sampling.samples=1, or a temperature above 0"
        )
    check_what_is_evaluated(settings)
    chosen = suite(settings.suite, "suite")
    benchmarks = prompted_benchmarks(chosen, settings.data, settings.prompt, settings.problems, settings.first)
    run = RunFolder.existing(Path(settings.run)) if settings.run else None
    trained = configuration.read(run.config) if run else None
    checkpoint = _checkpoint(run, settings) if run else None
    model, pin = source_of(settings).pinned(trained, checkpoint)
    task = trained.task if trained else None
    trained_on = tuple(settings.trained_on) or (tuple(task.train) if isinstance(task, TrainingSets) else ())
    owner = _owner(settings, run, checkpoint, trained, pin)
    return EvaluationPlan(
        settings=settings,
        suite=chosen,
        benchmarks=benchmarks,
        model=model,
        checkpoint=checkpoint,
        owner=owner,
        folder=_folder(settings, run, owner),
        sampling=_identity(settings, pin),
        trained_on=trained_on,
    )


def check_what_is_evaluated(settings: EvaluateSettings) -> None:
    """Raise `ConfigError` for settings that would be ignored: a run's without a run, or a model's beside a run."""
    if settings.run:
        RunFolder.existing(Path(settings.run))
    named = [f"step={settings.step}"] if settings.step else []
    named += [f"checkpoint={settings.checkpoint.value}"] if settings.checkpoint is not Which.last else []
    if named and not settings.run:
        raise ConfigError(
            f"{' and '.join(named)} without run: only a training run has checkpoints; add run=FOLDER, or leave them out"
        )
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} name two checkpoints of the run; give one of them")
    if settings.first and settings.problems:
        raise ConfigError(
            f"first={settings.first} and problems={settings.problems} choose problems in two ways; give one of them"
        )
    source_of(settings).check()


def _checkpoint(run: RunFolder, settings: EvaluateSettings) -> Checkpoint:
    return checkpoint_at(run, settings.step) if settings.step else chosen_checkpoint(run, settings.checkpoint)


def evaluate(plan: EvaluationPlan, stop: StopRequest, progress: SampleProgress) -> Evaluation:
    """Generate missing samples, grade ungraded ones, write samples and record, and return the evaluation.

    The same call resumes a killed evaluation. If no sample is missing, the model is not loaded. Raises `Interrupted`,
    `RunLocked`, `RunFailed` and the errors of `Generation.run`.
    """
    started = time.monotonic()
    with RunFolder(plan.store.path).locked():
        wanted = begin(plan)
        progress.start(sum(len(one.samples) for one in wanted), plan.asked)
        if wanted:
            generate(plan, wanted, stop, progress)
        return finish(plan, started)


def begin(plan: EvaluationPlan) -> list[Wanted]:
    """Write the owner of the samples and return those that are missing. The caller holds the folder's lock.

    Raises `RunLocked` if a process of an earlier, killed call does not end, and the errors of the source of samples.
    """
    EvaluationFolder(plan.folder).write_owner(plan.owner)
    _clear_shares(plan.store)
    wanted = missing(plan.benchmarks, plan.settings.sampling.samples, plan.store)
    if wanted:
        source_of(plan.settings).prepare(plan, wanted)
    return wanted


def finish(plan: EvaluationPlan, started: float) -> Evaluation:
    """Grade, write and read back an evaluation whose samples are complete; `started` is from `time.monotonic()`."""
    store = plan.store
    limits = Limits(plan.settings.grading_seconds, plan.settings.undecided_share)
    graded = grade_samples(
        plan.benchmarks, asked_for(plan.benchmarks, plan.settings.sampling.samples, store), store, limits
    )
    assert graded
    write_asked(store, plan.sampling, _asked(plan, time.monotonic() - started))
    _clear_shares(store)
    return read_evaluation(store.path)


def _clear_shares(store: SampleStore) -> None:
    """Remove the shares of other processes (`share`) once none of them is being worked on."""
    for folder in store.shares.glob("*/"):
        RunFolder(folder).wait_until_free(_ORPHAN_SECONDS)
    shutil.rmtree(store.shares, ignore_errors=True)


def generate(plan: EvaluationPlan, wanted: Sequence[Wanted], stop: StopRequest, progress: SampleProgress) -> None:
    """Generate `wanted` in this process; raises the errors of the source of samples."""
    source_of(plan.settings).generate(plan, wanted, stop, progress.done)


def _identity(settings: EvaluateSettings, pin: ModelPin) -> SamplingIdentity:
    return SamplingIdentity(
        model_sha256=pin.sha256,
        engine=str(settings.engine.kind),
        precision=source_of(settings).precision,
        temperature=settings.sampling.temperature,
        top_p=settings.sampling.top_p,
        max_new_tokens=settings.sampling.max_new_tokens,
        seed=settings.sampling.seed,
    )


def _owner(
    settings: EvaluateSettings,
    run: RunFolder | None,
    checkpoint: Checkpoint | None,
    trained: configuration.RunConfig | None,
    pin: ModelPin,
) -> Owner:
    if run is None or checkpoint is None or trained is None:
        label = settings.label or pin.source.rsplit("/", 1)[-1]
        return Owner(label, label, None, None, "", pin)
    inside = ComparisonFolder.of_run(run) is not None
    own = settings.label or (run.path.parent.name if inside else run.path.name)
    arm = trained.marked(own)
    return Owner(f"{arm} {run.path.name} step {checkpoint.step}", arm, trained.seed, checkpoint.step, run.uid(), pin)


def _folder(settings: EvaluateSettings, run: RunFolder | None, owner: Owner) -> Path:
    if run is not None:
        return EvaluationFolder.of_run(run, owner.step or 0).path
    plain = "".join(character if character.isalnum() or character in "-_." else "-" for character in owner.label)
    return Path(settings.output_root) / EVALUATIONS / f"{plain}-{owner.model.sha256[:8]}"


def _asked(plan: EvaluationPlan, seconds: float) -> Asked:
    return Asked(
        suite=plan.suite.name,
        role=plan.suite.role.value,
        samples=plan.settings.sampling.samples,
        templates={b.name: f"{b.template.name} {b.template.sha256[:12]}" for b in plan.benchmarks},
        of={b.name: b.of for b in plan.benchmarks},
        unverified=[b.name for b in plan.benchmarks if not b.verified],
        shared=_shared(plan),
        seconds=seconds,
    )


def _shared(plan: EvaluationPlan) -> dict[str, list[str]]:
    """Return the evaluated problems that occur in each training set."""
    asked = [prompted.problem for benchmark in plan.benchmarks for prompted in benchmark.prompted]
    found = {
        name: [one.evaluation_id for one in overlaps(asked, load_problem_set(name, plan.settings.data).problems)]
        for name in plan.trained_on
    }
    return {name: list(dict.fromkeys(ids)) for name, ids in found.items()}
