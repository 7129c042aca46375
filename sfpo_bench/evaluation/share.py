"""A share of an evaluation: a subset of its problems, for which another process generates samples.

SAMPLING/shares/0003/     below the samples (`sample_store`), until the evaluation is done
  evaluate.yaml           settings of the evaluation
  share.json              benchmarks and keys of the problems in this share
  status.json, lock, stop as in the folder of a run; its steps are samples
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import OmegaConf

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.evaluation.generation import Wanted, missing
from sfpo_bench.evaluation.run import EvaluationPlan, SampleProgress, generate, plan
from sfpo_bench.evaluation.sample_source import source_of
from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.sample_store import SampleStore
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.settings.config import to_settings
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.models import HuggingFaceModel

_QUESTIONS, _SETTINGS = "share.json", "evaluate.yaml"


@dataclass(frozen=True, slots=True)
class _Dealt:
    """A problem of a share."""

    benchmark: str
    key: str


@dataclass(frozen=True, slots=True)
class _Share:
    """Contents of `share.json`."""

    questions: tuple[_Dealt, ...]


def deal(asked: EvaluationPlan, wanted: Sequence[Wanted], count: int) -> list[Path]:
    """Divide the missing samples into at most `count` shares and write their folders.

    Problems are assigned round-robin, so that every share has some of each benchmark.
    """
    dealt = [wanted[number::count] for number in range(min(count, len(wanted)))]
    return [_write(asked, part, number) for number, part in enumerate(dealt)]


def generate_share(folder: Path, stop: StopRequest) -> None:
    """Generate the missing samples of a share.

    Raises `Interrupted`, `RunLocked`, the errors of `Generation.run`, and `ConfigError` if the model has changed since
    the share was created.
    """
    remedy = "run the evaluation again, which divides its problems again"
    mine = {(one.benchmark, one.key) for one in read_record(_Share, folder / _QUESTIONS, remedy).questions}
    asked = plan(to_settings(read_yaml(folder / _SETTINGS), EvaluateSettings))
    dealt_for = SampleStore.of_share(folder)
    if asked.store.path.resolve() != dealt_for.path.resolve():
        raise ConfigError(
            f"{folder} is a share of {dealt_for.path}, but its model is by now evaluated in {asked.store.path}: the "
            "model or the run's checkpoint has changed meanwhile; run the same command again"
        )
    run = RunFolder(folder)
    with run.locked():
        found = missing(asked.benchmarks, asked.settings.sampling.samples, asked.store)
        wanted = [one for one in found if (one.benchmark, one.prompted.key) in mine]
        count = _Count(run, sum(len(one.samples) for one in wanted))
        if wanted:
            generate(asked, wanted, stop, SampleProgress(done=count.add))


class _Count:
    """Records the number of existing samples of a share."""

    def __init__(self, folder: RunFolder, missing: int) -> None:
        self._folder = folder
        before = folder.status()
        self._done, self._steps = before.steps - missing, before.steps

    def add(self, samples: int) -> None:
        self._done += samples
        self._folder.write_status(RunStatus(RunState.running, self._done, self._steps))


def _write(asked: EvaluationPlan, part: Sequence[Wanted], number: int) -> Path:
    folder = asked.store.share(number)
    settings = OmegaConf.structured(_found_from_anywhere(asked))
    plain = OmegaConf.create(OmegaConf.to_container(settings, enum_to_str=True))
    write_atomically(folder / _SETTINGS, OmegaConf.to_yaml(plain))
    write_atomically(
        folder / _QUESTIONS, to_json(_Share(tuple(_Dealt(one.benchmark, one.prompted.key) for one in part)))
    )
    RunFolder(folder).write_status(RunStatus(RunState.pending, 0, sum(len(one.samples) for one in part)))
    return folder


def _found_from_anywhere(asked: EvaluationPlan) -> EvaluateSettings:
    """Return the settings with absolute paths, since the process of a share may start in another folder."""
    settings, model = asked.settings, asked.model
    if isinstance(model, HuggingFaceModel) and model.path and Path(model.path).is_dir():
        model = replace(model, path=str(Path(model.path).absolute()))
    data = settings.data.folder
    return replace(
        source_of(settings).at(model),
        run=str(Path(settings.run).absolute()) if settings.run else "",
        data=replace(settings.data, dir=str(data.absolute()) if data else ""),
        output_root=str(Path(settings.output_root).absolute()),
    )
