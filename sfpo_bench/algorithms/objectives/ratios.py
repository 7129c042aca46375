"""Probability ratios to the policy that sampled: per token or per response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.loss_parts import LossPart
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Ratio(LossPart):
    """The token ratio, log r_t = log pi - log pi_old; the base class of ratios.

    With `largest_log_ratio` each token's log r is clamped to that range and has no gradient beyond it.
    """

    kind: str = option("token", "name of the ratio")
    largest_log_ratio: float = option(
        0.0, "each token's log-ratio is clamped to +- this, 20 in verl and xorl; 0: no clamp", low=0.0
    )

    paper = "1707.06347"
    changes = "one ratio per token"

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """The statistics of the whole mini-batch for `log_ratios`; called if `uses_statistics`."""
        return {}

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        """log r of each token, [B, T], differentiable as the surrogate needs; arbitrary on padding."""
        log_ratios_BT = inputs.log_probs_BT - inputs.old_log_probs_BT
        bound = self.largest_log_ratio
        return log_ratios_BT.clamp(-bound, bound) if bound else log_ratios_BT


def values_of(log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
    """The log-ratios, detached and zero on padding."""
    return log_ratios_BT.detach().masked_fill(~inputs.mask_BT, 0.0)


def with_own_gradient(values_BT: Tensor, inputs: LossInputs) -> Tensor:
    """The detached `values_BT` with the gradient of each token's log-prob."""
    return values_BT + (inputs.log_probs_BT - inputs.log_probs_BT.detach())


@dataclass
class SequenceRatio(Ratio):
    """The sequence ratio, as a token-level ratio (GSPO, arXiv:2507.18071, Eq. 7 and its token form).

        log s_t = sg(mean_k log r_k) + log pi_t - sg(log pi_t)

    Its value is equal on all tokens; its gradient is that of the token's log-prob. A response of one token has GRPO's
    ratio.
    """

    kind: str = option("sequence", "name of the ratio")

    paper = "2507.18071"
    changes = "all tokens of a response share one ratio, the geometric mean of the token ratios"

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        log_ratios_BT = values_of(super().log_ratios(inputs), inputs)
        mean_B1 = log_ratios_BT.sum(dim=1, keepdim=True) / inputs.mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        return with_own_gradient(mean_B1, inputs)
