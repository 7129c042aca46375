"""Frozen copies of the policy: the KL reference, and models to sample from that follow it or lag behind it."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sfpo_bench.algorithms.anchor import local
from sfpo_bench.algorithms.protocols import Reference
from sfpo_bench.training.layout import PlacedBatch
from sfpo_bench.training.placed_scorer import PlacedScorer
from sfpo_bench.training.ranks import PlacedModel, Ranks
from sfpo_bench.training.scoring import Scores
from sfpo_bench.training.split_weights import round_to_bfloat16


def frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model with no trainable weights."""
    return copy.deepcopy(model).requires_grad_(False)


class CopyOfPolicy(Protocol):
    """Weights beside the policy's that change with them at each step."""

    def follow(self, step: int, masters: Mapping[str, Tensor]) -> None:
        """Update from the policy's weights; call after training step `step`."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors for the checkpoint."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned."""
        ...


class FollowingWeights:
    """The weights of a frozen copy of the policy, which `rule` may move towards the policy's trained weights.

    They follow the fp32 masters. A bfloat16 copy therefore has fp32 weights here, so that small moves are not lost to
    rounding. Untrained weights always equal the policy's. Each rank moves its own shards.
    """

    def __init__(self, frozen: PreTrainedModel, masters: Mapping[str, Tensor], rule: Reference) -> None:
        self._rule = rule
        self._working = {name: weight for name, weight in frozen.named_parameters() if rule.moves and name in masters}
        # Where the module is fp32 or fp64, these are its weights, without a copy.
        self._weights = {name: weight.detach().to(masters[name].dtype) for name, weight in self._working.items()}

    @torch.no_grad()
    def follow(self, step: int, masters: Mapping[str, Tensor]) -> None:
        """Move the weights towards the policy's by the rule's fraction; call after training step `step`."""
        share = self._rule.follow(step)
        if share == 0:
            return
        for name, weight in self._weights.items():
            here = local(weight)
            torch.lerp(here, local(masters[name]), share, out=here)
        self._publish()

    def tensors(self) -> Mapping[str, Tensor]:
        """The weights that the rule may move, for the checkpoint, by the policy's names."""
        return self._weights

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned."""
        for name, weight in self._weights.items():
            weight.copy_(tensors[name])
        self._publish()

    def _publish(self) -> None:
        """Round the weights to a bfloat16 module, as `MasterWeights` does."""
        for name, weight in self._weights.items():
            if self._working[name].dtype == torch.bfloat16:
                round_to_bfloat16(local(weight), local(self._working[name]))


class ReferenceModel(FollowingWeights):
    """The KL reference model."""

    def __init__(
        self, frozen: PreTrainedModel, masters: Mapping[str, Tensor], rule: Reference, temperature: float, ranks: Ranks
    ) -> None:
        self._scorer = PlacedScorer(frozen, temperature, ranks)
        super().__init__(frozen, masters, rule)

    def score(self, batch: PlacedBatch) -> Scores:
        """Scores of the batch's responses under the reference; every rank must call this equally often."""
        return self._scorer.score(batch)


class SampledModel(FollowingWeights):
    """A second model beside the policy from which responses are sampled."""

    def __init__(self, frozen: PreTrainedModel, masters: Mapping[str, Tensor], rule: Reference, ranks: Ranks) -> None:
        self.model = frozen
        self.placed: PlacedModel = ranks.place(frozen)
        super().__init__(frozen, masters, rule)


class EarlierModel:
    """The policy of `steps` training steps ago, to sample from.

    Step t samples from the initial weights of step t - `steps`, or from those of the run where there is no such step.
    Weights are kept in the module's precision, so they are rounded for a bfloat16 model. Each rank keeps its own
    shards.
    """

    def __init__(self, frozen: PreTrainedModel, masters: Mapping[str, Tensor], steps: int, ranks: Ranks) -> None:
        self.model = frozen
        self.placed: PlacedModel = ranks.place(frozen)
        self._steps = steps
        self._sampled = {name: weight for name, weight in frozen.named_parameters() if name in masters}
        # The initial weights of later steps, oldest first; the last entry is the current policy.
        self._later: deque[Mapping[str, Tensor]] = deque()

    @torch.no_grad()
    def follow(self, step: int, masters: Mapping[str, Tensor]) -> None:
        """Append the policy's weights, and sample from the next ones in the queue; call after training step `step`."""
        copies = {name: torch.empty_like(weight) for name, weight in self._sampled.items()}
        for name, kept in copies.items():
            if kept.dtype == torch.bfloat16:
                round_to_bfloat16(local(masters[name]), local(kept))
            else:
                local(kept).copy_(local(masters[name]))
        self._later.append(copies)
        if len(self._later) > self._steps:
            for name, weight in self._later.popleft().items():
                local(self._sampled[name]).copy_(local(weight))

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors for the checkpoint, keyed `<parameter>/<age>`: age 0 is sampled now, 1 next, and so on."""
        every: list[Mapping[str, Tensor]] = [self._sampled, *self._later]
        return {f"{name}/{age}": weight for age, one in enumerate(every) for name, weight in one.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned."""
        ages = 1 + max(int(key.rsplit("/", 1)[1]) for key in tensors)
        later: list[Mapping[str, Tensor]] = [
            {name: torch.empty_like(weight) for name, weight in self._sampled.items()} for _ in range(1, ages)
        ]
        every: list[Mapping[str, Tensor]] = [self._sampled, *later]
        for age, weights in enumerate(every):
            for name, weight in weights.items():
                weight.copy_(tensors[f"{name}/{age}"])
        self._later = deque(later)
