"""Checkpoints that are whole or absent.

    checkpoints/step-000010/
      weights.safetensors     fp32 master weights
      optimizer.safetensors   the optimizer's state; absent in an old one that is kept for evaluation alone
      anchor.safetensors      the anchor, while a later step waits for it (Lookahead's slow weights); else absent
      state.json              step, costs, rule state, journal lengths, best score so far

A checkpoint is written into a hidden folder, made durable, and renamed; a kill at any moment leaves the previous ones
as they were. Nothing is unpickled: tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.protocols import RuleState
from sfpo_bench.errors import CheckpointError, DiskFullError
from sfpo_bench.tracking.run_folder import RunFolder
from sfpo_bench.training.settings import Which
from sfpo_bench.types import Costs

if TYPE_CHECKING:
    from torch import Tensor

    from sfpo_bench.training.master_weights import MasterWeights

_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_ANCHOR = "anchor.safetensors"
_SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All of a run beside its tensors. Data order, sampling noise, learning rate and torch's generator are functions of
    the step, so the step is their whole state; `*_bytes` say how much of the journals this checkpoint covers."""

    step: int
    costs: Costs
    rule: RuleState
    journal_bytes: int
    samples_bytes: int
    best_step: int
    best_accuracy: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One whole checkpoint on disk."""

    path: Path

    @property
    def step(self) -> int:
        return int(self.path.name.removeprefix("step-"))

    @property
    def weights_file(self) -> Path:
        return self.path / _WEIGHTS

    def state(self) -> TrainingState:
        """The training state; raises `CheckpointError` when it cannot be read."""
        try:
            raw = json.loads((self.path / _STATE).read_text(encoding="utf-8"))
            return TrainingState(**{**raw, "costs": Costs(**raw["costs"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.path / _STATE} cannot be read ({error}); remove that folder to resume from the one before"
            ) from error

    def keep_weights_alone(self) -> None:
        """Drop what only a resume needs."""
        (self.path / _OPTIMIZER).unlink(missing_ok=True)
        (self.path / _ANCHOR).unlink(missing_ok=True)

    def load_into(self, masters: MasterWeights) -> None:
        """Weights, optimizer state and anchor; raises `CheckpointError` when they are damaged or of another model."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            masters.load(load_file(self.weights_file))
            masters.load_optimizer_tensors(load_file(self.path / _OPTIMIZER))
            anchor = self.path / _ANCHOR
            masters.load_anchor_tensors(load_file(anchor) if anchor.exists() else {})
        except (OSError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(
                f"{self.path} does not hold this model's weights and optimizer state ({error}); "
                "remove that folder to resume from the one before"
            ) from error


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The checkpoints of one run: the newest `keep_last`, the best one, and the weights of every `keep_every`-th step
    (0: of none)."""

    folder: Path
    keep_last: int = 2
    keep_every: int = 0

    def all(self) -> list[Checkpoint]:
        """Whole checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [Checkpoint(path) for path in self.folder.glob("step-*") if (path / _STATE).is_file()]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def newest(self) -> Checkpoint | None:
        """The latest whole checkpoint, if there is one."""
        found = self.all()
        return found[-1] if found else None

    def at(self, step: int) -> Checkpoint | None:
        """The checkpoint of a step, if it is kept."""
        return next((checkpoint for checkpoint in self.all() if checkpoint.step == step), None)

    def write(self, masters: MasterWeights, state: TrainingState) -> Checkpoint:
        """Write, make durable, then drop what is no longer kept.

        Raises `DiskFullError`, leaving earlier checkpoints as they were, when space is short or a write fails.
        """
        files = {_WEIGHTS: masters.masters, _OPTIMIZER: masters.optimizer_tensors(), _ANCHOR: masters.anchor_tensors()}
        files = {file: tensors for file, tensors in files.items() if tensors or file != _ANCHOR}
        size = sum(t.numel() * t.element_size() for tensors in files.values() for t in tensors.values())
        require_space(self.folder, size)
        self.sweep()
        final = self.folder / f"step-{state.step:06d}"
        partial = self.folder / f".partial-{state.step:06d}"
        try:
            _write_folder(partial, files, state)
            if final.exists():
                shutil.rmtree(final)
            os.replace(partial, final)
            _sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise DiskFullError(
                f"writing the checkpoint of step {state.step} ({size / 1e6:.1f} MB) into {self.folder} failed: "
                f"{error}; earlier checkpoints are whole, free some space and run the same command again"
            ) from error
        self._drop_old(state.best_step)
        return Checkpoint(final)

    def sweep(self) -> None:
        """Remove what a kill left half-written or half-removed."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name.startswith(".partial-") or (
                    path.name.startswith("step-") and not (path / _STATE).is_file()
                ):
                    shutil.rmtree(path, ignore_errors=True)

    def _drop_old(self, best_step: int) -> None:
        for checkpoint in self.all()[: -self.keep_last]:
            if checkpoint.step == best_step:
                continue
            if self.keep_every and checkpoint.step % self.keep_every == 0:
                checkpoint.keep_weights_alone()
            else:
                # The state goes first: without it the folder is no checkpoint, however far the removal got.
                (checkpoint.path / _STATE).unlink()
                shutil.rmtree(checkpoint.path)


def chosen_checkpoint(folder: RunFolder, which: Which) -> Checkpoint:
    """The last or best checkpoint of a run; raises `CheckpointError` when there is none."""
    store = CheckpointStore(folder.checkpoints)
    newest = store.newest()
    if newest is None:
        raise CheckpointError(f"{folder.path} has no checkpoint yet; train it further first")
    if which is Which.last:
        return newest
    best = store.at(newest.state().best_step)
    if best is None:
        raise CheckpointError(
            f"{folder.path} holds no best checkpoint: no evaluation so far chose one; use checkpoint=last"
        )
    return best


def checkpoint_at(folder: RunFolder, step: int) -> Checkpoint:
    """The checkpoint of a step; raises `CheckpointError`, with the steps that are there, when it is not kept."""
    store = CheckpointStore(folder.checkpoints)
    found = store.at(step)
    if found is None:
        there = ", ".join(str(checkpoint.step) for checkpoint in store.all()) or "none"
        raise CheckpointError(
            f"{folder.path} holds no checkpoint of step {step}; expected one of {there}. training.keep_every says "
            "which ones a run keeps"
        )
    return found


def covered_bytes(folder: RunFolder) -> int:
    """How much of a run's journal its newest checkpoint covers: what may be told to others for good."""
    newest = CheckpointStore(folder.checkpoints).newest()
    return newest.state().journal_bytes if newest is not None else 0


def require_space(folder: Path, size: int) -> None:
    """Raise `DiskFullError` unless `folder`'s file system has `size` bytes and a margin free."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < size + _SPARE_BYTES:
        raise DiskFullError(
            f"{free / 1e6:.0f} MB are free below {existing}, expected at least {(size + _SPARE_BYTES) / 1e6:.0f} MB; "
            "free some space, lower training.keep_last, or set output_root to another disk"
        )


def _write_folder(folder: Path, files: Mapping[str, Mapping[str, Tensor]], state: TrainingState) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        for file, tensors in files.items():
            save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, folder / file)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    (folder / _STATE).write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    for name in (*files, _STATE):
        with open(folder / name, "rb") as handle:
            os.fsync(handle.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
