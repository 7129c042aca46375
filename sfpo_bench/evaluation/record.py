"""Evaluations on disk: the model, the sampling, and what was evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.evaluation.graded_benchmark import GradedBenchmark, graded_benchmarks
from sfpo_bench.evaluation.model_pin import ModelPin
from sfpo_bench.evaluation.sample_store import SampleStore, SamplingIdentity
from sfpo_bench.results.codec import from_plain
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.stored_files import read_object, reading, write_atomically

OWNER_FILE = "evaluation.json"
SCORED_FILE = "scores.json"
CHOICE_FILE = "choice.json"
_AGAIN = "restore it, or evaluate again, which writes it anew"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose samples a folder holds. `arm` groups the training seeds of one method; a model without a run is an arm of
    its own, `seed` and `step` are None then."""

    label: str
    arm: str
    seed: int | None
    step: int | None
    run: str
    model: ModelPin


@dataclass(frozen=True, slots=True)
class Asked:
    """What the last evaluation asked. `templates` maps benchmarks to the name and sha256 of their prompt template;
    `unverified` are benchmarks whose content is not that of their card; `shared` maps a training set to the ids of
    problems that stand in it."""

    suite: str
    role: str
    samples: int
    templates: Mapping[str, str]
    of: Mapping[str, int]
    unverified: Sequence[str] = ()
    shared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation, read back: the sheets of its benchmarks in the order of its suite."""

    folder: Path
    owner: Owner
    sampling: SamplingIdentity
    asked: Asked
    graded: Mapping[str, GradedBenchmark]
    choice_note: str

    @property
    def shared_ids(self) -> frozenset[str]:
        """Problems that occur in a training set."""
        return frozenset(one for ids in self.asked.shared.values() for one in ids)


def write_owner(folder: Path, owner: Owner) -> None:
    """Write or renew `evaluation.json`; raises `ConfigError` when the folder is another model's."""
    file = folder / OWNER_FILE
    if file.is_file() and (found := asdict(_owner(file).model)) != asdict(owner.model):
        raise ConfigError(
            f"{folder} holds samples of another model ({found['source']}, sha256 {found['sha256'][:12]}…), not of "
            f"{owner.model.source} ({owner.model.sha256[:12]}…); give this one another label=NAME"
        )
    write_atomically(file, json.dumps({"schema_version": SCHEMA_VERSION, **asdict(owner)}, indent=1))


def write_asked(store: SampleStore, sampling: SamplingIdentity, asked: Asked) -> None:
    """Write `sampling.json`: how the samples were drawn, and what the last evaluation asked."""
    content = {"sampling": asdict(sampling), "asked": asdict(asked)}
    write_atomically(store.identity_file, json.dumps(content, indent=1))


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in a folder, either the one with `samples.parquet` or the one above it when that has only one.

    Raises `MissingDataError` for a folder without graded samples, `ConfigError` when it holds several evaluations.
    """
    place = _graded_place(folder)
    store = SampleStore(place)
    content = _read(store.identity_file)
    with reading(store.identity_file, _AGAIN):
        sampling = from_plain(SamplingIdentity, content["sampling"], str(store.identity_file))
        asked = from_plain(Asked, content["asked"], str(store.identity_file))
    return Evaluation(
        folder=place,
        owner=_owner(place.parent / OWNER_FILE),
        sampling=sampling,
        asked=asked,
        graded=graded_benchmarks(store.graded()),
        choice_note=choice_note(place.parent),
    )


def runs_of(folder: Path) -> list[Path]:
    """The runs of a comparison in its folder, by arm and seed; empty when it is no comparison's folder."""
    there = ComparisonFolder(folder)
    return [run.path for run in there.started_runs()] if there.exists() else []


def choice_note(folder: Path) -> str:
    """The warning for a model that was chosen by scores on a suite for reporting; else empty."""
    file = folder / CHOICE_FILE
    if not file.is_file():
        return ""
    with reading(file):
        return str(_read(file)["note"])


def _graded_place(folder: Path) -> Path:
    if SampleStore(folder).graded_file.is_file():
        return folder
    inner = sorted(path.parent for path in folder.glob("*/samples.parquet"))
    if not inner:
        raise MissingDataError(
            f"{folder} holds no evaluation: found no samples.parquet there; name a folder that `sfpo-bench evaluate` "
            "wrote, and run it again if it was stopped"
        )
    if len(inner) > 1:
        raise ConfigError(
            f"{folder} holds {len(inner)} evaluations that were sampled differently; name one of them: "
            f"{', '.join(map(str, inner))}"
        )
    return inner[0]


def _owner(file: Path) -> Owner:
    return from_plain(Owner, _read(file), str(file))


def _read(file: Path) -> dict[str, object]:
    if not file.is_file():
        raise MissingDataError(f"{file} is not there; expected the folder of an evaluation, which has one")
    return read_object(file)
