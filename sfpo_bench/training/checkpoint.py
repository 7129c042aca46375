"""Atomic checkpoints: each is complete or absent.

    checkpoints/step-000010/
      weights.safetensors     fp32 master weights
      optimizer.safetensors   the optimizer state; absent in an older one that is kept for evaluation only
      anchor.safetensors      the anchor, while a later step needs it (Lookahead's slow weights); else absent
      reference.safetensors   the KL reference, where it moves; else absent
      critic-weights.safetensors, critic-optimizer.safetensors
                              weights and optimizer state of a module beside the policy, by module name
      state.json              step, costs, rule state, journal lengths, best score so far

A run of several ranks writes folders `weights/`, `optimizer/` and so on, with one file per rank. Any number of ranks
can load either form.

A checkpoint is written into a hidden folder, synced, and renamed; a kill at any moment leaves the earlier ones intact.
Tensors are safetensors, the rest is JSON; nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.collectors.protocol import CollectorState
from sfpo_bench.algorithms.protocols import RuleState
from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import CheckpointError, DiskFullError
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.stored_files import sync_folder
from sfpo_bench.settings.training import Which

if TYPE_CHECKING:
    from torch import Tensor

    from sfpo_bench.training.master_weights import MasterWeights
    from sfpo_bench.training.ranks import Ranks

_WEIGHTS, _OPTIMIZER, _ANCHOR, _STATE = "weights", "optimizer", "anchor", "state.json"
_SPARE_BYTES = 64 * 2**20

# Reads the tensors of a part, by its name, sharded like the given tensors.
ReadPart = Callable[[str, "Mapping[str, Tensor]"], "Mapping[str, Tensor]"]
# Loads further parts of a checkpoint through the given reader.
LoadBeside = Callable[[ReadPart], None]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The state of a run except its tensors.

    Data order, sampling noise, learning rate and torch's generator are functions of `step`, so none of them is stored.
    `*_bytes` are the lengths of the journals that this checkpoint covers.
    """

    step: int
    costs: Costs
    rule: RuleState
    journal_bytes: int
    samples_bytes: int
    best_step: int
    best_accuracy: float
    collector: CollectorState = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One complete checkpoint on disk."""

    path: Path

    @property
    def step(self) -> int:
        return int(self.path.name.removeprefix("step-"))

    @property
    def weights_files(self) -> list[Path]:
        """The weights files: one, or one per rank that wrote."""
        from sfpo_bench.training.tensor_files import files_of

        return files_of(self.path, _WEIGHTS)

    def weights(self, only: Collection[str] | None = None) -> dict[str, Tensor]:
        """The unsharded weights by name, all or those in `only`; raises `CheckpointError` when they are damaged."""
        from safetensors import SafetensorError

        from sfpo_bench.training.tensor_files import read_tensors

        try:
            return read_tensors(self.path, _WEIGHTS, only=only)
        except (OSError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{self.path} cannot be read ({error}); choose another checkpoint") from error

    def state(self) -> TrainingState:
        """The training state; raises `CheckpointError` when the file cannot be read."""
        try:
            raw = json.loads((self.path / _STATE).read_text(encoding="utf-8"))
            return TrainingState(**{**raw, "costs": Costs(**raw["costs"])})
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(
                f"{self.path / _STATE} cannot be read ({error}); remove that folder to resume from the one before"
            ) from error

    def keep_weights_alone(self) -> None:
        """Remove all parts but the weights; the checkpoint can then be evaluated but not resumed from."""
        from sfpo_bench.training.tensor_files import parts_of, remove_tensors

        for part in parts_of(self.path) - {_WEIGHTS}:
            remove_tensors(self.path, part)

    def load_into(self, masters: MasterWeights, load_beside: LoadBeside = lambda read: None) -> None:
        """Load weights, optimizer state and anchor, then call `load_beside` for further parts.

        Raises `CheckpointError` when they are damaged or belong to another model.
        """
        from safetensors import SafetensorError

        from sfpo_bench.training.tensor_files import files_of, read_tensors

        like = masters.masters
        try:
            masters.load(read_tensors(self.path, _WEIGHTS, like))
            masters.load_optimizer_tensors(read_tensors(self.path, _OPTIMIZER, like))
            anchor = read_tensors(self.path, _ANCHOR, like) if files_of(self.path, _ANCHOR) else {}
            masters.load_anchor_tensors(anchor)
            load_beside(lambda part, like: read_tensors(self.path, part, like))
        except (OSError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(
                f"{self.path} does not hold this model's weights and optimizer state ({error}); "
                "remove that folder to resume from the one before"
            ) from error


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The checkpoints of one run.

    It keeps the newest `keep_last`, and the weights of the best one and of every `keep_every`-th step (0: none). Each
    rank writes its own part.
    """

    folder: Path
    keep_last: int = 2
    keep_every: int = 0
    ranks: Ranks | None = None

    def all(self) -> list[Checkpoint]:
        """The complete checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [Checkpoint(path) for path in self.folder.glob("step-*") if (path / _STATE).is_file()]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def newest(self) -> Checkpoint | None:
        """The latest complete checkpoint, or None."""
        found = self.all()
        return found[-1] if found else None

    def at(self, step: int) -> Checkpoint | None:
        """The checkpoint of a step, or None."""
        return next((checkpoint for checkpoint in self.all() if checkpoint.step == step), None)

    def write(
        self, masters: MasterWeights, state: TrainingState, beside: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> Checkpoint:
        """Write and sync a checkpoint, then remove those no longer kept; every rank must call this.

        `beside` are further parts by name; empty ones are left out. Raises `DiskFullError`, and leaves earlier
        checkpoints as they were, when space is short or a write fails.
        """
        from sfpo_bench.algorithms.anchor import local
        from sfpo_bench.training.ranks import ALONE
        from sfpo_bench.training.tensor_files import write_tensors

        ranks = self.ranks or ALONE
        parts: dict[str, Mapping[str, Tensor]] = {
            _WEIGHTS: masters.masters,
            _OPTIMIZER: masters.optimizer_tensors(),
            _ANCHOR: masters.anchor_tensors(),
        }
        parts |= beside or {}
        parts = {part: tensors for part, tensors in parts.items() if tensors or part == _OPTIMIZER}
        here = [local(tensor) for tensors in parts.values() for tensor in tensors.values()]
        [size] = ranks.sums([sum(tensor.numel() * tensor.element_size() for tensor in here)])
        final = self.folder / f"step-{state.step:06d}"
        partial = self.folder / f".partial-{state.step:06d}"
        with ranks.together():
            if ranks.is_first:
                require_space(self.folder, int(size))
                self.sweep()
                with _removing_partial(partial, state.step, size):
                    partial.mkdir(parents=True)
        with ranks.together(), _removing_partial(partial, state.step, size):
            for part, tensors in parts.items():
                write_tensors(partial, part, tensors, ranks)
        with ranks.together():
            if ranks.is_first:
                with _removing_partial(partial, state.step, size):
                    _publish(partial, final, state)
                self._drop_old(state.best_step)
        return Checkpoint(final)

    def sweep(self) -> None:
        """Remove half-written and half-removed checkpoints of a killed process."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name.startswith(".partial-") or (
                    path.name.startswith("step-") and not (path / _STATE).is_file()
                ):
                    shutil.rmtree(path, ignore_errors=True)

    def _drop_old(self, best_step: int) -> None:
        for checkpoint in self.all()[: -self.keep_last]:
            if checkpoint.step == best_step or (self.keep_every and checkpoint.step % self.keep_every == 0):
                checkpoint.keep_weights_alone()
            else:
                # Remove the state first: without it the folder is no checkpoint, even if the removal is interrupted.
                (checkpoint.path / _STATE).unlink()
                shutil.rmtree(checkpoint.path)


def chosen_checkpoint(folder: RunFolder, which: Which) -> Checkpoint:
    """The last or best checkpoint of a run; raises `CheckpointError` when there is none, or the last is incomplete."""
    store = CheckpointStore(folder.checkpoints)
    newest = store.newest()
    if newest is None:
        raise CheckpointError(f"{folder.path} has no checkpoint yet; train it further first")
    if which is Which.last:
        last = folder.status().step
        if newest.step < last:
            raise CheckpointError(
                f"{folder.path} has no complete checkpoint of step {last}, its last; the newest is of step "
                f"{newest.step}. Run the command that trained it again: it resumes there"
            )
        return newest
    best = store.at(newest.state().best_step)
    if best is None:
        raise CheckpointError(
            f"{folder.path} holds no best checkpoint: no evaluation so far chose one; use checkpoint=last"
        )
    return best


def checkpoint_at(folder: RunFolder, step: int) -> Checkpoint:
    """The checkpoint of a step; raises `CheckpointError`, listing the steps that exist, when it is not kept."""
    store = CheckpointStore(folder.checkpoints)
    found = store.at(step)
    if found is None:
        there = ", ".join(str(checkpoint.step) for checkpoint in store.all()) or "none"
        raise CheckpointError(
            f"{folder.path} holds no checkpoint of step {step}; expected one of {there} (in train, "
            "training.keep_every sets which ones a run keeps)"
        )
    return found


def covered_bytes(folder: RunFolder) -> int:
    """The length of the journal that the newest checkpoint covers; a resume never rewrites these bytes."""
    newest = CheckpointStore(folder.checkpoints).newest()
    return newest.state().journal_bytes if newest is not None else 0


def require_space(folder: Path, size: int) -> None:
    """Raise `DiskFullError` unless `folder`'s file system has `size` bytes plus a margin free."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < size + _SPARE_BYTES:
        raise DiskFullError(
            f"{free / 1e6:.0f} MB are free below {existing}, expected at least {(size + _SPARE_BYTES) / 1e6:.0f} MB; "
            "free some space, lower training.keep_last, or set output_root to another disk"
        )


@contextmanager
def _removing_partial(partial: Path, step: int, size: float) -> Iterator[None]:
    """Remove the partial checkpoint and raise `DiskFullError` when a write inside the block fails."""
    try:
        yield
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DiskFullError(
            f"writing the checkpoint of step {step} ({size / 1e6:.1f} MB) into {partial.parent} failed: {error}; "
            "earlier checkpoints are whole, free some space and run the same command again"
        ) from error


def _publish(partial: Path, final: Path, state: TrainingState) -> None:
    """Write the state, then rename the folder, which makes it a checkpoint."""
    with open(partial / _STATE, "w", encoding="utf-8") as handle:
        handle.write(json.dumps(asdict(state), indent=1))
        handle.flush()
        os.fsync(handle.fileno())
    for folder in (*(path for path in partial.iterdir() if path.is_dir()), partial):
        sync_folder(folder)
    if final.exists():
        shutil.rmtree(final)
    os.replace(partial, final)
    sync_folder(final.parent)
