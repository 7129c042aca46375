"""One run from its configuration: preparing its folder and training in it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig, OmegaConf

from sfpo_bench.core.errors import ConfigError, MissingDataError, RankLost, RunFailed, RunLocked
from sfpo_bench.core.types import EvaluationRecord
from sfpo_bench.results.code_version import code_version
from sfpo_bench.results.codec import to_json
from sfpo_bench.results.identity import Identity, refuse
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.provenance import collect_provenance
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.stored_files import read_object, reading, write_atomically
from sfpo_bench.rollout.vllm_environment import prepare_environment, require_vllm
from sfpo_bench.settings import config as configuration
from sfpo_bench.settings.rollout import VllmRollout
from sfpo_bench.settings.training import TrainingSettings
from sfpo_bench.training.checkpoint import CheckpointStore
from sfpo_bench.training.inputs import contents, with_inputs
from sfpo_bench.training.processes import is_first, world_size

if TYPE_CHECKING:
    from sfpo_bench.core.stop import StopRequest
    from sfpo_bench.training.build import Hooks
    from sfpo_bench.training.trainer import Trainer

_PREPARE_TIMEOUT_SECONDS = 120.0

# Settings that may differ when a run is resumed: they change output paths, the length of the run or its reports, but
# not what a step computes.
NOT_IDENTITY = (
    *(
        "output_root",
        "run_name",
        "description",
        "training.steps",
        "training.stop_at.",
        "training.peak_tflops",
        "training.keep_last",
        "training.rank_timeout_seconds",
        "training.keep_every",
        "tracking.",
        "comparison.",
        "sweep.",
        "study.",
        "launcher",
    ),
    *("rollout.server_url", "rollout.start_seconds", "rollout.timeout_seconds", "rollout.restarts"),
    "rollout.transfer_folder",
)


def identity(settings: Mapping[str, object]) -> Identity:
    """The settings, by dotted key, that must be equal to resume a run, and the content hashes of what they name."""
    return Identity.of(with_inputs({key: value for key, value in settings.items() if not key.startswith(NOT_IDENTITY)}))


def prepare(folder: RunFolder, node: DictConfig, device: str) -> None:
    """Create the run's folder, or check that it belongs to this configuration; a run without a step may change.

    Raises `ComparisonChanged` when a setting differs from those the run was started with, `ConfigError` when the run is
    already longer than `training.steps`, and `MissingDataError` when the files to resume from are gone.
    """
    new = configuration.flatten(configuration.to_plain(node))
    requested = identity(new)
    begun = folder.status().step > 0 or folder.checkpoints.exists()
    if folder.config.is_file() and begun:
        _check_resumable(folder, requested, training_of(node))
    elif folder.journal.is_file() and not folder.config.is_file():
        raise MissingDataError(
            f"{folder.config} is gone, but {folder.path} holds a journal: what the run was started with cannot be "
            "checked; restore the file, or remove that folder to train the run again"
        )
    text = configuration.to_yaml(node)
    is_new = not folder.config.is_file() or folder.config.read_text(encoding="utf-8") != text
    try:
        with folder.locked():
            folder.stop_file.unlink(missing_ok=True)  # a stop request to an earlier command
            if is_new and not begun:  # records of a start that took no step
                folder.inputs.unlink(missing_ok=True)
                folder.provenance.unlink(missing_ok=True)
            if not folder.inputs.is_file():
                write_atomically(folder.inputs, to_json(contents(requested.values)))
            if is_new:
                write_atomically(folder.config, text)
            if not folder.provenance.is_file():
                threads = int(str(new["threads"]))
                found = collect_provenance(device=device, threads=threads, started_unix_s=time.time())
                write_atomically(folder.provenance, found.to_json())
    except RunLocked:
        # A worker of a killed command may still finish its step; with an equal configuration it trains this same run.
        if is_new:
            raise


def _check_resumable(folder: RunFolder, requested: Identity, training: TrainingSettings) -> None:
    """Raise the errors of `prepare` for a run that cannot be resumed with this configuration."""
    old = configuration.flatten(configuration.to_plain(configuration.read_saved(folder.config)))
    refuse(
        f"{folder.path} was started with other settings",
        started_with(folder, identity(old), requested).differences(requested),
        "Give it another run_name (one of several: the whole another name), or remove that folder",
    )
    _check_length(folder, training.steps)
    refuse_lost_checkpoints(folder, training)


def started_with(folder: RunFolder, old: Identity, requested: Identity) -> Identity:
    """The identity of a run with the content hashes its inputs had at its start.

    An older version did not store some hashes; for those the present ones count as equal.
    """
    if not folder.inputs.is_file():
        return old
    noted = read_object(folder.inputs)
    unknown = {key: value for key, value in contents(requested.values).items() if key not in noted}
    return Identity({**old.without(contents(old.values)).values, **unknown, **noted})


def refuse_lost_checkpoints(folder: RunFolder, training: TrainingSettings) -> None:
    """Raise `MissingDataError` when an unfinished run has lost all its checkpoints."""
    status, steps = folder.status(), training.steps
    if status.step > 0 and not is_finished(folder, training) and CheckpointStore(folder.checkpoints).newest() is None:
        raise MissingDataError(
            f"{folder.path} had a checkpoint of step {status.step}, and there is no whole one now, from which it could "
            f"be trained to step {steps}; restore {folder.checkpoints}, or remove the run's folder to train it again "
            "with the same result"
        )


def _check_length(folder: RunFolder, steps: int) -> None:
    done = folder.status().step
    if done > steps:
        raise ConfigError(
            f"{folder.path} has already {done} steps, more than training.steps = {steps}; a run can only be made longer"
        )


def is_finished(folder: RunFolder, training: TrainingSettings) -> bool:
    """True when the run has all its steps, or has ended by these settings' stop rule."""
    status = folder.status()
    if status.state is not RunState.finished:
        return False
    return status.step == training.steps or target_step(folder, training) is not None


def target_step(folder: RunFolder, training: TrainingSettings) -> int | None:
    """The step at which these settings' stop rule ends the run, given its evaluations, or None."""
    if not training.stop_at.accuracy:
        return None
    found = (record for record in read_journal(folder.journal) if isinstance(record, EvaluationRecord))
    return training.stop_at.reached_at(found)


def training_of(node: DictConfig) -> TrainingSettings:
    """The training settings of a resolved configuration."""
    return cast(TrainingSettings, OmegaConf.to_object(OmegaConf.merge(TrainingSettings, node.training)))


def code_changed(folder: RunFolder) -> bool:
    """True when the run was started by another version of the code."""
    if not folder.provenance.is_file():
        return False
    with reading(folder.provenance):
        return bool(read_object(folder.provenance)["code_version"] != code_version())


def train(path: Path, stop: StopRequest, hooks: Hooks | None = None) -> None:
    """Train the prepared run at `path` from its last checkpoint, if any.

    Under torchrun every process calls this; together they train the run.
    """
    folder = RunFolder.existing(path)
    config = configuration.read(folder.config)
    if isinstance(config.rollout, VllmRollout):
        require_vllm(config.rollout)
        prepare_environment(config.threads)
    from sfpo_bench.training.build import build_trainer
    from sfpo_bench.training.process_group import joined

    # When a rank dies, torchrun sends a signal to the others; they must first write why the run failed.
    with stop.listening() if world_size(os.environ) > 1 else nullcontext():
        try:
            with joined(config.training.rank_timeout_seconds) as ranks:
                trainer = build_trainer(config, folder, stop, hooks, ranks)
                if ranks.is_first:
                    _record_machine(folder, trainer, ranks.count)
                trainer.run()
                del trainer  # it holds process-group resources, which must be freed before the ranks leave
        except RankLost as lost:
            if is_first(os.environ):
                status = folder.status()
                folder.write_status(RunStatus(RunState.failed, status.step, config.training.steps, str(lost)))
            raise


def wait_until_prepared(folder: RunFolder, node: DictConfig) -> None:
    """Wait until rank 0 has prepared the folder for this configuration; raises `RunFailed` after a timeout."""
    wanted, deadline = configuration.to_yaml(node), time.monotonic() + _PREPARE_TIMEOUT_SECONDS
    while not folder.config.is_file() or folder.config.read_text(encoding="utf-8") != wanted:
        if time.monotonic() > deadline:
            raise RunFailed(
                f"{folder.config} is not that of this command {_PREPARE_TIMEOUT_SECONDS:g} s after its start; rank 0 "
                "should have written it: give every process the same command and an output_root that all machines share"
            )
        time.sleep(0.1)


def _record_machine(folder: RunFolder, trainer: Trainer, processes: int) -> None:
    """Write the resolved device, its peak and the number of processes into the run's provenance."""
    provenance = read_object(folder.provenance)
    found = {**provenance, "device": trainer.device, "device_peak": asdict(trainer.peak), "processes": processes}
    if found != provenance:
        write_atomically(folder.provenance, json.dumps(found, indent=2, ensure_ascii=False))


def plain_node(node: DictConfig, changes: Mapping[str, object]) -> DictConfig:
    """A resolved copy of `node` with the dotted keys of `changes` set."""
    copy = OmegaConf.create(OmegaConf.to_container(node, resolve=True, enum_to_str=True))
    assert isinstance(copy, DictConfig)
    for key, value in changes.items():
        OmegaConf.update(copy, key, value, merge=False)
    return copy
