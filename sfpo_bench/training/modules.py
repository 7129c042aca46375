"""Modules trained beside the policy (critics): scores, optimizer steps and checkpoint parts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sfpo_bench.algorithms.modules.policy_alone import PolicyAlone
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.algorithms.protocols import Advantage, Rewarded
from sfpo_bench.core.errors import NonFiniteError
from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import Completion
from sfpo_bench.settings.training import LearnerSettings, NonFinite
from sfpo_bench.training.batch import TrainBatch, assemble
from sfpo_bench.training.checkpoint import ReadPart
from sfpo_bench.training.layout import PlacedBatch, micro_batches_of_rank
from sfpo_bench.training.learner import make_optimizer
from sfpo_bench.training.master_weights import MasterWeights
from sfpo_bench.training.ranks import ALONE, Ranks
from sfpo_bench.training.value_scorer import ValueScorer


class TrainedModule:
    """A model that scores tokens, with its fp32 weights and optimizer. `LocalLearner` is the policy's counterpart."""

    def __init__(self, name: str, model: PreTrainedModel, settings: LearnerSettings, ranks: Ranks) -> None:
        model.eval()
        self.name = name
        self._ranks = ranks
        self._settings = settings
        self._scorer = ValueScorer(model, ranks, recompute=settings.recompute_layers)
        self.masters = MasterWeights(model, lambda weights: make_optimizer(weights, settings))

    @property
    def device(self) -> torch.device:
        """The device of this rank."""
        return self._scorer.placed.device

    def scores(self, batch: TrainBatch) -> Tensor:
        """The scores of every response token, float64 [B, T], equal on all ranks; each rank computes its rows."""
        scores_BT = torch.zeros(batch.responses_BT.shape, dtype=torch.float64, device=self.device)
        with torch.no_grad():
            for micro, counts in self._micro_batches(batch):
                found_BT = self._scorer.score(micro)
                if counts:
                    # Rows of other ranks stay zero; the all-reduce fills them.
                    scores_BT[micro.rows.rows_B, : found_BT.shape[1]] = found_BT.double()
        self._ranks.add(scores_BT)
        return scores_BT

    def step(self, batch: TrainBatch, rate: float, losses: Callable[[PlacedBatch, Tensor], Tensor]) -> _Step:
        """Take one optimizer step on the mean of `losses` over all ranks' tokens of `batch`."""
        for group in self.masters.optimizer.param_groups:
            group["lr"] = rate
        with self.masters.split():
            [loss] = self._ranks.sums([float(self._gradients(batch, losses))])
            norm = self.masters.clip_gradients(self._settings.gradient_clip_norm or math.inf)
            finite = math.isfinite(loss) and math.isfinite(norm)
            if finite:
                self.masters.step()
            elif self._settings.non_finite is NonFinite.stop:
                raise NonFiniteError(
                    f"module {self.name}: loss {loss} and gradient norm {norm}, expected finite numbers; lower its "
                    f"learning rate (now {rate:g}), or set learner.non_finite=skip to leave such optimizer steps out"
                )
        return _Step(loss, norm, finite)

    def _gradients(self, batch: TrainBatch, losses: Callable[[PlacedBatch, Tensor], Tensor]) -> Tensor:
        """Return this rank's share of the loss, on the device, and add its gradient to the masters' gradients."""
        tokens, loss = batch.counts().tokens, torch.zeros((), dtype=torch.float64, device=self.device)
        for micro, counts in self._micro_batches(batch):
            scores_BT = self._scorer.score(micro)
            # Padding and dummy micro-batches go through the backward pass and add zero.
            mask_BT = micro.layout.mask_BT & counts
            share = losses(micro, scores_BT).masked_fill(~mask_BT, 0.0).sum() / tokens
            share.backward()
            self.masters.collect_gradients()
            loss += share.detach()
        return loss

    def _micro_batches(self, batch: TrainBatch) -> Iterator[tuple[PlacedBatch, bool]]:
        settings = self._settings
        budget, window = settings.micro_batch_tokens, settings.packing_window
        return micro_batches_of_rank(batch, budget, window, self._ranks, self.device)

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """The module's tensors for the checkpoint, by part."""
        return {
            f"{self.name}-weights": self.masters.masters,
            f"{self.name}-optimizer": self.masters.optimizer_tensors(),
        }

    def load(self, read: ReadPart) -> None:
        """Load the parts of `tensors`."""
        self.masters.load(read(f"{self.name}-weights", self.masters.masters))
        self.masters.load_optimizer_tensors(read(f"{self.name}-optimizer", self.masters.masters))


@dataclass(frozen=True, slots=True)
class _Step:
    """Loss and gradient norm before one optimizer step, and whether it was taken."""

    loss: float
    norm: float
    taken: bool


class TrainedModules:
    """All modules trained beside the policy; empty and free without any.

    A step's scores are taken before its optimizer steps, as the old log-probs are. Micro-batches and ranks do not
    change the result.
    """

    def __init__(
        self,
        modules: Modules,
        models: Mapping[str, PreTrainedModel],
        settings: LearnerSettings,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self._modules = modules
        self._settings = settings
        self._seed = seed
        self._trained = {name: TrainedModule(name, model, settings, ranks) for name, model in models.items()}

    @property
    def size_bytes(self) -> int:
        """The size of all fp32 weights, in bytes."""
        return sum(w.element_size() * w.numel() for one in self._trained.values() for w in one.masters.masters.values())

    def scores(self, completions: Sequence[Completion]) -> dict[str, Tensor]:
        """By module, the scores of every response token from its prefix, float64 [B, T], equal on all ranks."""
        return {name: one.scores(_batch(completions)).cpu() for name, one in self._trained.items()}

    def train(
        self, step: int, completions: Sequence[Completion], rewarded: Rewarded, advantage: Advantage
    ) -> dict[str, float]:
        """Train each module towards the advantage's returns on its share of the responses; return metrics by journal
        key."""
        measured: dict[str, float] = {}
        returns_BT = advantage.returns(rewarded) if self._trained else torch.empty(0)
        for name, one in self._trained.items():
            started = time.perf_counter()
            source = generator(self._seed, "modules", step)
            rows = self._modules.share(name, rewarded, source).reshape(-1).nonzero()[:, 0]
            loss_from = [trajectory.loss_from for trajectory in rewarded.trajectories]
            found = self._steps(one, step, completions, loss_from, rows, returns_BT)
            explained = explained_variance(rewarded.scores[name], returns_BT, rewarded.mask_BT)
            found |= {} if explained is None else {"explained_variance": explained}
            found["seconds"] = time.perf_counter() - started
            measured |= {f"{name}/{key}": value for key, value in found.items()}
        return measured

    def _steps(
        self,
        one: TrainedModule,
        step: int,
        completions: Sequence[Completion],
        loss_from: Sequence[int],
        rows: Tensor,
        returns_BT: Tensor,
    ) -> dict[str, float]:
        settings, towards_BT = self._settings, returns_BT.to(one.device)
        rate = self._modules.rate_of(one.name, settings.learning_rate) * min(1.0, step / max(1, settings.warmup_steps))
        taken: list[_Step] = []
        if len(rows):
            batch = _batch(completions, loss_from).select(rows)

            def losses(micro: PlacedBatch, scores_BT: Tensor) -> Tensor:
                target_BT = towards_BT[micro.rows.rows_B, : scores_BT.shape[1]].to(scores_BT.dtype)
                return self._modules.losses(one.name, scores_BT, target_BT)

            taken = [one.step(batch, rate, losses) for _ in range(self._modules.passes_of(one.name))]
        count = max(1, len(taken))
        return {
            "loss": sum(found.loss for found in taken) / count,
            "gradient_norm": sum(found.norm for found in taken) / count,
            "optimizer_steps": float(sum(found.taken for found in taken)),
            "learning_rate": rate,
        }

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """The tensors of all modules for the checkpoint, by part."""
        return {part: tensors for one in self._trained.values() for part, tensors in one.tensors().items()}

    def load(self, read: ReadPart) -> None:
        """Load the parts of `tensors`."""
        for one in self._trained.values():
            one.load(read)


def no_modules() -> TrainedModules:
    """The empty set of modules, for methods that train only the policy."""
    return TrainedModules(PolicyAlone(), {}, LearnerSettings(), 0)


def explained_variance(scores_BT: Tensor, returns_BT: Tensor, mask_BT: Tensor) -> float | None:
    """1 - Var(return - score) / Var(return) over the tokens of the mask; None where all returns are equal."""
    returns_N = returns_BT[mask_BT]
    spread = float(returns_N.var(correction=0))
    return 1 - float((returns_N - scores_BT[mask_BT]).var(correction=0)) / spread if spread > 0 else None


def _batch(completions: Sequence[Completion], loss_from: Sequence[int] = ()) -> TrainBatch:
    return assemble(completions, torch.zeros(len(completions)), 1, loss_from)
