"""DPPO's pruning: randomly drops prompts and responses of low |A| and reweights the others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.selections.protocol import Candidates, Selection
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor

    from sfpo_bench.algorithms.protocols import RuleState


class Estimator(StrEnum):
    """The weight of a response that is kept with probability k, for a mean over all N responses.

    horvitz_thompson  1 / k: unbiased, its expectation is the gradient of the whole batch
    published         C / k for a mean over the kept responses, with C the mean of k: biased
    """

    horvitz_thompson = "horvitz_thompson"
    published = "published"


class DropRule(StrEnum):
    """How responses and prompts are dropped.

    `bernoulli` drops each independently. `fixed_count` (the appendix's algorithm) drops the floor(rate n) with the
    lowest
    |A| deterministically, which no weight can correct: biased.
    """

    bernoulli = "bernoulli"
    fixed_count = "fixed_count"


@dataclass
class DppoPrune(Facts, Selection):
    """Randomly drop prompts of low past |A| and responses of low |A|, and reweight the others (arXiv:2603.04135).

    A prompt is dropped with probability `prompt_rate` if its past |A| is low, a response with probability `rate` if its
    |A| is below the batch's mean. A prompt's past |A| is an average over its earlier steps, stored in the checkpoint; a
    new prompt is kept. Dropped responses are generated and count as costs, but the learner does not run them. With
    rates of 0 nothing changes, bit for bit. Unverified: the threshold of P and its value above, and the smoothing of a
    prompt's past.
    """

    kind: str = option("dppo_prune", "name of the selection")
    rate: float = option(
        0.5, "probability of dropping a response of low |A|; .3 to .9 in the paper", low=0.0, below=1.0
    )
    prompt_rate: float = option(0.5, "probability of dropping a prompt of low past |A|", low=0.0, below=1.0)
    smoothing: float = option(0.5, "weight of the latest mean |A| in a prompt's past |A|", above=0.0, high=1.0)
    estimator: Estimator = option(Estimator.horvitz_thompson, "weight of kept responses: horvitz_thompson or published")
    sampling: DropRule = option(DropRule.bernoulli, "bernoulli, or fixed_count (the appendix; biased)")

    paper = "2603.04135"
    trust = "?"
    unverified = (
        "that P is the rate below the mean |A| (of the batch; of the past of the step's prompts) and 0 above, and how "
        "a prompt's past is smoothed, is our reading"
    )
    changes = "prompts and responses of low |A| are dropped at random, the others are weighted up"

    def __post_init__(self) -> None:
        self._past: dict[str, float] = {}

    @property
    def needs_weights(self) -> bool:
        return self.rate > 0 or self.prompt_rate > 0

    def check(self, key: str, group: int) -> None:
        if self.sampling is DropRule.fixed_count and self.estimator is not Estimator.horvitz_thompson:
            raise ConfigError(
                f"{key}.estimator = {self.estimator.value} with {key}.sampling = fixed_count, which draws nothing: its "
                f"weights follow from the count alone; leave {key}.estimator out, or set {key}.sampling=bernoulli"
            )

    def weights(self, candidates: Candidates) -> Tensor | None:
        import torch

        if not self.needs_weights:
            return None
        size_PG, past_P1 = candidates.advantages_PG.abs(), self._past_of(candidates)
        self._update_past(candidates)
        if self.sampling is DropRule.fixed_count:
            kept_PG = lowest_dropped(size_PG, self.rate) * lowest_dropped(past_P1, self.prompt_rate)
            return kept_PG * kept_PG.numel() / kept_PG.sum().clamp(min=1)
        drawn_PG = torch.from_numpy(candidates.generator.random(tuple(size_PG.shape)))
        drawn_P1 = torch.from_numpy(candidates.generator.random(tuple(past_P1.shape)))
        chance_PG, chance_P1 = probabilities(size_PG, self.rate), probabilities(past_P1, self.prompt_rate)
        return self.weights_of((1 - chance_PG) * (1 - chance_P1), (drawn_PG >= chance_PG) & (drawn_P1 >= chance_P1))

    def weights_of(self, chance_PG: Tensor, kept_PG: Tensor) -> Tensor:
        """The weights for one outcome of the draw, 0 for dropped ones; `chance_PG` is the probability of being kept."""
        weights_PG = kept_PG.double() / chance_PG
        if self.estimator is Estimator.published:
            weights_PG = weights_PG * chance_PG.mean() * kept_PG.numel() / kept_PG.sum().clamp(min=1)
        return weights_PG

    def _past_of(self, candidates: Candidates) -> Tensor:
        """The past |A| of each prompt, [P, 1]; infinity for a new one."""
        past = [self._past.get(name, float("inf")) for name, _ in _prompts(candidates)]
        return candidates.advantages_PG.new_tensor(past)[:, None]

    def _update_past(self, candidates: Candidates) -> None:
        if self.prompt_rate:
            for name, size in _prompts(candidates):
                self._past[name] = (1 - self.smoothing) * self._past.get(name, size) + self.smoothing * size

    def state(self) -> RuleState:
        return dict(self._past)

    def restore(self, state: RuleState) -> None:
        self._past = {name: float(past) for name, past in state.items()}  # type: ignore[arg-type]  # a number each


def probabilities(size: Tensor, rate: float) -> Tensor:
    """P of each entry: `rate` below the mean of the finite entries, else 0."""
    known = size[size.isfinite()]
    if not len(known):
        return size.new_zeros(size.shape)
    # The mean of equal numbers can exceed them by a rounding error, which would make all of them low.
    return rate * (size < known.mean().clamp(max=known.max())).double()


def lowest_dropped(size: Tensor, rate: float) -> Tensor:
    """0 for the floor(rate n) lowest of the n finite entries (first ones in ties), and 1 for the others."""
    flat = size.reshape(-1)
    kept = flat.new_ones(len(flat))
    kept[flat.argsort(stable=True)[: int(rate * int(flat.isfinite().sum()))]] = 0.0
    return kept.reshape(size.shape)


def _prompts(candidates: Candidates) -> list[tuple[str, float]]:
    """The problem of each group and the mean |A| of its responses; empty without trajectories."""
    sizes = candidates.advantages_PG.abs()
    firsts = candidates.trajectories[:: sizes.shape[1]]
    return [(one.problem.id, fmean(row)) for one, row in zip(firsts, sizes.tolist(), strict=bool(firsts))]
