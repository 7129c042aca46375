"""What of a response is compared with the policy that sampled it: each token, or the whole response."""

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
    """Of each token alone: log r_t = log pi - log pi_old. The base of the others.

    With `largest_log_ratio` each token's log r is clamped to its two sides, and has no gradient beyond them.
    """

    kind: str = option("token", "name of the ratio")
    largest_log_ratio: float = option(
        0.0, "each token's log ratio is clamped to +- this, 20 in verl and xorl; 0: not at all", low=0.0
    )

    paper = "1707.06347"
    changes = "each token has its own ratio"

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """What `log_ratios` must know of the whole mini-batch; asked for with `uses_statistics`."""
        return {}

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        """log r of each token, [B, T], with the gradient that the surrogate is to have; anything on padding."""
        log_ratios_BT = inputs.log_probs_BT - inputs.old_log_probs_BT
        bound = self.largest_log_ratio
        return log_ratios_BT.clamp(-bound, bound) if bound else log_ratios_BT


def values_of(log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
    """Log ratios to compute others from: without gradient, zero on padding."""
    return log_ratios_BT.detach().masked_fill(~inputs.mask_BT, 0.0)


def with_own_gradient(values_BT: Tensor, inputs: LossInputs) -> Tensor:
    """`values_BT`, which has no gradient, with that of each token's own log-prob."""
    return values_BT + (inputs.log_probs_BT - inputs.log_probs_BT.detach())


@dataclass
class SequenceRatio(Ratio):
    """Of the whole response, per token (GSPO, arXiv:2507.18071, Eq. 7 and its token form).

        log s_t = sg(mean_k log r_k) + log pi_t - sg(log pi_t)

    Its value is the same on every token, its gradient that of the token's own log-prob. A response of one token has
    GRPO's ratio.
    """

    kind: str = option("sequence", "name of the ratio")

    paper = "2507.18071"
    changes = "all tokens of a response share one ratio, the geometric mean of theirs"

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        log_ratios_BT = values_of(super().log_ratios(inputs), inputs)
        mean_B1 = log_ratios_BT.sum(dim=1, keepdim=True) / inputs.mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        return with_own_gradient(mean_B1, inputs)
