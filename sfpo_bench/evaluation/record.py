"""Evaluations as they lie on disk: whose they are, how they were sampled, what was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sfpo_bench.errors import ConfigError, MissingDataError
from sfpo_bench.evaluation.answer_sheet import Sheet, sheets
from sfpo_bench.evaluation.model_pin import ModelPin
from sfpo_bench.evaluation.sample_store import SampleStore, SamplingIdentity
from sfpo_bench.tracking.run_folder import write_atomically

OWNER_FILE = "evaluation.json"
SCORED_FILE = "scores.json"
CHOICE_FILE = "choice.json"
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
    sheets: Mapping[str, Sheet]
    choice_note: str

    @property
    def shared_ids(self) -> frozenset[str]:
        """Problems that stand in a training set."""
        return frozenset(one for ids in self.asked.shared.values() for one in ids)


def write_owner(folder: Path, owner: Owner) -> None:
    """Write or renew `evaluation.json`; raises `ConfigError` when the folder is another model's."""
    file = folder / OWNER_FILE
    if file.is_file() and (found := _read(file)["model"]) != asdict(owner.model):
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
    owner, content = _read(place.parent / OWNER_FILE), _read(store.identity_file)
    owner.pop("schema_version", None)
    return Evaluation(
        folder=place,
        owner=Owner(**{**owner, "model": ModelPin(**owner["model"])}),
        sampling=SamplingIdentity(**content["sampling"]),
        asked=Asked(**content["asked"]),
        sheets=sheets(store.graded()),
        choice_note=choice_note(place.parent),
    )


def runs_of(folder: Path) -> list[Path]:
    """The runs of a comparison in its folder, by arm and seed; empty when it is no comparison's folder."""
    if not (folder / "comparison.json").is_file():
        return []
    return sorted(path.parent for path in (folder / "runs").glob("*/seed-*/config.yaml"))


def choice_note(folder: Path) -> str:
    """What is to be said of a model that was chosen by scores on a suite for reporting; empty otherwise."""
    file = folder / CHOICE_FILE
    return str(_read(file)["note"]) if file.is_file() else ""


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


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise MissingDataError(f"{file} is not there; expected the folder of an evaluation, which has one")
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file} is not JSON ({error}); restore it, or evaluate into a new folder") from error
    return content
