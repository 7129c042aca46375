"""The base of policy-gradient objectives: ratio, mask, weights, added terms and loss aggregation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.loss_parts import LossPart, named, seen_by
from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.objectives.ratios import Ratio
from sfpo_bench.algorithms.penalties.protocol import Penalty
from sfpo_bench.algorithms.protocols import Loss, LossInputs, Objective
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class Normalization(StrEnum):
    """Loss aggregation over tokens; counts are over the whole mini-batch.

    response_mean     mean over each response's tokens, then over responses (GRPO, arXiv:2402.03300)
    token_mean        mean over all tokens (DAPO, arXiv:2503.14476)
    fixed_length      sum over tokens / (responses * token limit): no response length (Dr. GRPO, arXiv:2503.20783)
    block_token_mean  mean over the tokens of each block of `learner.block_responses` responses, then over blocks: a
                      quirk of SFPO's released code, whose blocks are its micro-batches.
                      Blocks of one response are response_mean, one block is token_mean
    """

    response_mean = "response_mean"
    token_mean = "token_mean"
    fixed_length = "fixed_length"
    block_token_mean = "block_token_mean"


@dataclass
class PolicyGradient(Facts, Objective):
    """Ratio x surrogate x mask x aggregation + added terms; a subclass defines the surrogate.

        token loss   surrogate(log r_t, A) M_t w_t + kl_coefficient k3_t - entropy_coefficient H_t
        loss         sum over tokens with the weights of `normalization`, + penalty

    M_t is 1 where the mask keeps a token, else 0. w_t is the engine correction's weight. k3_t = exp(log pi_ref - log
    pi) - (log pi_ref - log pi) - 1 is the non-negative KL estimate, H_t the token entropy. `surrogate_statistics`
    computes bounds that adapt to the mini-batch.
    """

    kind: str = option("", "name of the objective")
    ratio: Ratio = option(Ratio(), "probability ratio to the policy that sampled: token, sequence or other kinds")
    mask: Mask = option(Mask(), "mask of token losses")
    penalty: Penalty = option(Penalty(), "term added to the loss, with its own normalization")
    normalization: Normalization = option(
        Normalization.response_mean,
        "response_mean, token_mean, fixed_length, or block_token_mean (a quirk of the released code)",
    )
    kl_coefficient: float = option(0.0, "weight of the k3 KL penalty to the reference", low=0.0)
    entropy_coefficient: float = option(0.0, "weight of the entropy bonus; 0.001 in the released code", low=0.0)

    @property
    def parts(self) -> tuple[LossPart, ...]:
        """Ratio, mask and penalty; the objective needs whatever they need."""
        return self.ratio, self.mask, self.penalty

    @property
    def uses_entropy(self) -> bool:
        return self.entropy_coefficient > 0 or any(part.uses_entropy for part in self.parts)

    @property
    def uses_reference(self) -> bool:
        return self.kl_coefficient > 0 or any(part.uses_reference for part in self.parts)

    @property
    def needs_every_row(self) -> bool:
        adds = self.entropy_coefficient > 0 or self.kl_coefficient > 0
        return adds or any(part.needs_every_row for part in self.parts)

    @property
    def surrogate_uses_statistics(self) -> bool:
        """True when the surrogate needs `surrogate_statistics`."""
        return False

    @property
    def uses_statistics(self) -> bool:
        return self.surrogate_uses_statistics or any(part.uses_statistics for part in self.parts)

    @property
    def least_modules(self) -> int:
        return max(part.least_modules for part in self.parts)

    @property
    def applies_weights(self) -> bool:
        return True

    @abstractmethod
    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Token losses, and True where a bound on the ratio is active, both [B, T]."""
        ...

    def surrogate_statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """The surrogate's statistics of the whole mini-batch, which it reads from `LossInputs.statistics`."""
        return {}

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        ratio = self.ratio.statistics(mini_batch)
        log_ratios_BT = self.ratio.log_ratios(replace(mini_batch, statistics=ratio)).detach()
        return {
            **self.surrogate_statistics(log_ratios_BT, mini_batch),
            **named("ratio", ratio),
            **named("mask", self.mask.statistics(log_ratios_BT, mini_batch)),
            **named("penalty", self.penalty.statistics(mini_batch)),
        }

    def check(self, key: str, group: int) -> None:
        for name, part in zip(("ratio", "mask", "penalty"), self.parts, strict=True):
            part.check(f"{key}.{name}", group)

    def loss(self, inputs: LossInputs) -> Loss:
        """The rows' share of the loss; padding contributes exactly 0."""
        log_ratios_BT = self.ratio.log_ratios(seen_by("ratio", inputs))
        token_BT, clipped_BT = self.surrogate(log_ratios_BT, inputs)
        keeps_BT = self.mask.keeps(log_ratios_BT.detach(), seen_by("mask", inputs))
        if keeps_BT is not None:
            token_BT, clipped_BT = token_BT.masked_fill(~keeps_BT, 0.0), clipped_BT | ~keeps_BT
        if inputs.weights_BT is not None:
            token_BT = token_BT * inputs.weights_BT
        if inputs.reference_log_probs_BT is not None and self.kl_coefficient:
            token_BT = token_BT + self.kl_coefficient * k3(inputs.log_probs_BT, inputs.reference_log_probs_BT)
        if inputs.entropies_BT is not None and self.entropy_coefficient:
            token_BT = token_BT - self.entropy_coefficient * inputs.entropies_BT
        weights_B = response_weights(inputs, self.normalization).to(token_BT.dtype)
        if inputs.row_weights_B is not None:
            weights_B = weights_B * inputs.row_weights_B
        value = (token_BT.masked_fill(~inputs.mask_BT, 0.0).sum(dim=1) * weights_B).sum()
        added_B = self.penalty.row_losses(seen_by("penalty", inputs))
        if added_B is not None:
            value = value + (added_B if inputs.row_weights_B is None else added_B * inputs.row_weights_B).sum()
        return Loss(value, (clipped_BT & inputs.mask_BT).sum())


def k3(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """Per-token estimate of KL(pi || pi_ref) from samples of pi: e^d - d - 1 with d = log pi_ref - log pi; >= 0."""
    difference = reference_log_probs - log_probs
    return difference.exp() - difference - 1


def response_weights(inputs: LossInputs, normalization: Normalization) -> Tensor:
    """The weight of each response's token sum in the mini-batch loss, shape [B], float64.

    Each is 1 / (responses * length), where length is the response's own, the mean over the mini-batch or the response's
    block, or the token limit.
    """
    counts, lengths_B = inputs.counts, inputs.mask_BT.sum(dim=1).double()
    if normalization is Normalization.block_token_mean:
        assert inputs.block_lengths_B is not None
        return 1.0 / (inputs.block_lengths_B.clamp(min=1) * counts.responses)
    if normalization is Normalization.response_mean:
        return 1.0 / (lengths_B.clamp(min=1) * counts.responses)
    if normalization is Normalization.token_mean:
        return lengths_B.new_full(lengths_B.shape, 1.0 / max(counts.tokens, 1))
    return lengths_B.new_full(lengths_B.shape, 1.0 / max(counts.responses * counts.max_response_tokens, 1))
