"""DPPO's pruning: responses of low advantage are dropped at random, and the others weigh more for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.selections.protocol import Candidates, Selection
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class Estimator(StrEnum):
    """The weight of a response that stays, dropped with probability P, under a mean over all N responses.

    horvitz_thompson  1 / (1 - P): the expectation over draws is the gradient of the whole batch
    published         C / (1 - P) under the mean over those that stay, C the mean of 1 - P: a ratio, and biased
    """

    horvitz_thompson = "horvitz_thompson"
    published = "published"


class DropRule(StrEnum):
    """`bernoulli`: each response is dropped on its own. `fixed_count`, the appendix's algorithm: the floor(rate n)
    responses of lowest |A| are dropped for sure, which no weight can undo: biased."""

    bernoulli = "bernoulli"
    fixed_count = "fixed_count"


@dataclass
class DppoPrune(Facts, Selection):
    """Drop responses with |A| below the batch's mean with probability `rate`, weight the others (arXiv:2603.04135).

    All responses are generated and count as spent; those that are dropped are not run by the learner. A rate of 0 is
    the method without it, bit for bit. Unverified: the threshold of P and its value above; prompts are not pruned.
    """

    kind: str = option("dppo_prune", "name of the selection")
    rate: float = option(
        0.5, "probability that a response of low |A| is dropped; .3 to .9 in the paper", low=0.0, below=1.0
    )
    estimator: Estimator = option(
        Estimator.horvitz_thompson, "weight of those that stay: horvitz_thompson or published"
    )
    sampling: DropRule = option(DropRule.bernoulli, "bernoulli, or fixed_count (the appendix; biased)")

    paper = "2603.04135"
    trust = "?"
    unverified = "that P is `rate` below the batch's mean |A| and 0 above is our reading; prompts are not pruned"
    changes = "responses of low |A| are dropped at random, the others weigh more"

    @property
    def needs_weights(self) -> bool:
        return self.rate > 0

    def check(self, key: str, group: int) -> None:
        if self.sampling is DropRule.fixed_count and self.estimator is not Estimator.horvitz_thompson:
            raise ConfigError(
                f"{key}.estimator = {self.estimator.value} with {key}.sampling = fixed_count, which draws nothing: its "
                f"weights follow from the count alone; leave {key}.estimator out, or set {key}.sampling=bernoulli"
            )

    def weights(self, candidates: Candidates) -> Tensor | None:
        import torch

        if self.rate == 0:
            return None
        size_N = candidates.advantages_PG.abs().reshape(-1)
        if self.sampling is DropRule.fixed_count:
            kept_N = torch.ones_like(size_N)
            kept_N[torch.argsort(size_N, stable=True)[: int(self.rate * len(size_N))]] = 0.0
            weights_N = kept_N * len(size_N) / kept_N.sum()
        else:
            drawn_N = torch.from_numpy(candidates.generator.random(len(size_N)))
            dropped_N = drawn_N < self.probabilities(size_N)
            weights_N = self.weights_of(size_N, dropped_N)
        return weights_N.reshape(candidates.advantages_PG.shape)

    def probabilities(self, size_N: Tensor) -> Tensor:
        """P of each response by its |A|."""
        # The mean of equal numbers can be above them by a rounding error, which would drop them all.
        return self.rate * (size_N < size_N.mean().clamp(max=size_N.max())).double()

    def weights_of(self, size_N: Tensor, dropped_N: Tensor) -> Tensor:
        """The weights, 0 for the dropped, of one outcome of the draw."""
        kept_N = 1 - self.probabilities(size_N)
        weights_N = (~dropped_N).double() / kept_N
        if self.estimator is Estimator.published:
            weights_N = weights_N * kept_N.mean() * len(size_N) / (~dropped_N).sum().clamp(min=1)
        return weights_N
