"""The folder of an evaluation: the model, how it was sampled, what was evaluated, and choices made on its scores.

EVALUATION/                 results/evaluations/LABEL-3f2a9c81, or RUN/evaluations/step-000060
  evaluation.json           `Owner`
  choice.json               `ChoiceRecord`, if the model was chosen by scores on a report suite
  SAMPLING/                 the samples of one sampling configuration (`sample_store`)
    sampling.json           `AskedRecord`
    server.json             `ServerRecord`, if a server of OpenAI's API gave the samples
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.identity import Identity, refuse
from sfpo_bench.results.names import EVALUATIONS
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.sample_store import SampleStore, SamplingIdentity
from sfpo_bench.results.stored_files import write_atomically

SCHEMA_VERSION = 1
_EXPECTED = "expected the folder of an evaluation, which has one"
_NOT_SERVER = "restore it, or remove it if the server and its model are still those that gave the samples"
_AGAIN = "restore it, or evaluate again, which writes it anew"


@dataclass(frozen=True, slots=True)
class ModelPin:
    """Identifies the weights of a model.

    `source` is a hub name or a folder's name, `revision` the hub's commit (empty for a folder), `sha256` the hash of
    all files of the model: weights, configuration, tokenizer. Of a model on a server `source` is its name there, and
    `sha256` the hash of that name, the server's address and the tokenizer, for its weights cannot be read.
    """

    source: str
    revision: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Contents of `evaluation.json`: the evaluated model.

    `arm` groups the training seeds of one method. A model without a run is a separate arm; its `seed` and `step` are
    None.
    """

    label: str
    arm: str
    seed: int | None
    step: int | None
    run: str
    model: ModelPin
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Asked:
    """What the last evaluation measured.

    `templates` maps each benchmark to the name and sha256 of its prompt template. `unverified` lists benchmarks whose
    content differs from their card. `shared` maps each training set to the ids of problems that occur in it.
    """

    suite: str
    role: str
    samples: int
    templates: Mapping[str, str]
    of: Mapping[str, int]
    unverified: Sequence[str] = ()
    shared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AskedRecord:
    """Contents of `sampling.json`: how the samples were drawn, and what the last evaluation measured."""

    sampling: SamplingIdentity
    asked: Asked
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """Contents of `server.json`: the server that samples are from, and what it says of itself; never a key.

    `weights` and `owner` are from its list of models, `answers_as` is the model that its responses name. `refused` are
    the parameters that it does not take, such as `seed`. The last two may change without making it another server.
    """

    base_url: str
    model: str
    weights: str
    owner: str
    answers_as: str
    prompts: str
    refused: tuple[str, ...]
    most_tokens: int | None = None
    fingerprint: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def identity(self) -> Identity:
        """What must not change between samples that are kept together."""
        return Identity.of(asdict(self)).without(("most_tokens", "fingerprint"))

    @property
    def text(self) -> str:
        """A description for tables: `m of http://localhost:8000/v1, prompts as messages, without seed`."""
        without = f", which takes no {', '.join(self.refused)}" if self.refused else ""
        return f"{self.model} of {self.base_url}, prompts as {self.prompts}{without}"


@dataclass(frozen=True, slots=True)
class ChoiceRecord:
    """Contents of `choice.json`: the model was chosen `among` others by a metric on a suite.

    Every table that shows the model prints `note`.
    """

    suite: str
    role: str
    metric: str
    among: tuple[str, ...]
    note: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class EvaluationFolder:
    """The folder of one model's samples; creating the object does no I/O."""

    path: Path

    @property
    def owner_file(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def choice_file(self) -> Path:
        return self.path / "choice.json"

    def owner(self) -> Owner:
        """Return the model whose samples these are."""
        if not self.owner_file.is_file():
            raise MissingDataError(
                f"{self.owner_file} is not there; expected the folder of an evaluation, which has one"
            )
        return read_record(Owner, self.owner_file, _AGAIN)

    def write_owner(self, owner: Owner) -> None:
        """Write or replace the owner; raises `ComparisonChanged` if the folder holds samples of another model."""
        if self.owner_file.is_file():
            held, new = (Identity.of(_plain(one.model)) for one in (self.owner(), owner))
            refuse(
                f"{self.path} holds samples of another model", held.differences(new), "Give this one another label=NAME"
            )
        write_atomically(self.owner_file, to_json(owner))

    def choice_note(self) -> str:
        """Return the note on a model that was chosen by scores on a report suite, or an empty string."""
        return read_record(ChoiceRecord, self.choice_file).note if self.choice_file.is_file() else ""

    def write_choice(self, choice: ChoiceRecord) -> None:
        write_atomically(self.choice_file, to_json(choice))

    def store(self, sampling: SamplingIdentity) -> SampleStore:
        """Return the store of the samples of one sampling configuration."""
        return SampleStore(self.path / sampling.digest)

    @classmethod
    def of_run(cls, run: RunFolder, step: int) -> EvaluationFolder:
        """Return the folder for the evaluation of a run's checkpoint."""
        return cls(run.path / EVALUATIONS / f"step-{step:06d}")

    @classmethod
    def inside(cls, run: RunFolder) -> list[EvaluationFolder]:
        """Return the evaluations of a run's checkpoints, sorted by step."""
        return [cls(path) for path in sorted((run.path / EVALUATIONS).glob("step-*"))]

    @classmethod
    def of_store(cls, store: SampleStore) -> EvaluationFolder:
        """Return the evaluation that a sample store belongs to."""
        return cls(store.path.parent)


def read_asked(store: SampleStore) -> AskedRecord:
    """Return how the samples of a store were drawn and what was last evaluated; raises `ConfigError`."""
    file = store.identity_file
    if not file.is_file():
        raise MissingDataError(f"{file} is not there; {_EXPECTED}")
    return read_record(AskedRecord, file, _AGAIN)


def write_asked(store: SampleStore, sampling: SamplingIdentity, asked: Asked) -> None:
    """Write `sampling.json`."""
    write_atomically(store.identity_file, to_json(AskedRecord(sampling, asked)))


def read_server(store: SampleStore) -> ServerRecord | None:
    """Return the server that the samples of a store are from, or None if no server gave them."""
    file = store.server_file
    return read_record(ServerRecord, file, _NOT_SERVER) if file.is_file() else None


def write_server(store: SampleStore, server: ServerRecord) -> None:
    """Write `server.json`; raises `ComparisonChanged` if the store holds samples of another server or model."""
    if (held := read_server(store)) is not None:
        refuse(
            f"{store.path} holds samples of another server or model",
            held.identity.differences(server.identity),
            "Serve that one again, or give this one another label=NAME",
        )
    write_atomically(store.server_file, to_json(server))


def graded_store(folder: Path) -> SampleStore:
    """Return the graded samples of a folder: its own, or those of the only evaluation inside.

    Raises `MissingDataError` for a folder without graded samples, `ConfigError` for one with several evaluations.
    """
    here = SampleStore(folder)
    if here.graded_file.is_file():
        return here
    inner = sorted(path.parent for path in folder.glob(f"*/{here.graded_file.name}"))
    if not inner:
        raise MissingDataError(
            f"{folder} holds no evaluation: found no {here.graded_file.name} there; name a folder that `sfpo-bench "
            "evaluate` wrote, and run it again if it was stopped"
        )
    if len(inner) > 1:
        raise ConfigError(
            f"{folder} holds {len(inner)} evaluations that were sampled differently; name one of them: "
            f"{', '.join(map(str, inner))}"
        )
    return SampleStore(inner[0])


def _plain(pin: ModelPin) -> dict[str, object]:
    return {"source": pin.source, "revision": pin.revision, "sha256": pin.sha256}
