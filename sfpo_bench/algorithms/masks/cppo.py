"""CPPO's mask: a bound that is tighter for early tokens and after prefixes that have moved far."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.masks.tv import probability_change
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class BudgetRule(StrEnum):
    """The budget d_b that a token adds to its response.

    `quantile` is the 90 % quantile of D in the response, clamped to [token_budget, largest_factor token_budget].
    `fixed` is token_budget.
    """

    quantile = "quantile"
    fixed = "fixed"


@dataclass
class PrefixBudget(Mask):
    """Keeps tokens with A (r - 1) <= 0 or w_t D_t <= min(delta, delta + d_b W - S), D_t = |pi - mu| (2606.10968).

    W and S are the sums of w and of w D over the tokens before t (arXiv:2606.10968). w_t decreases linearly from 1 at
    the first token to `smallest_weight` at the token limit. With constant weight 1 and unbounded d_b this is `tv`. With
    `cispo` and weights from 0 to 20 it is CPPO.
    """

    kind: str = option("cppo", "name of the mask")
    delta: float = option(0.15, "largest weighted change of a token's probability; 0.15 dense, 0.2 MoE", low=0.0)
    smallest_weight: float = option(0.8, "w at the token limit", low=0.0, high=1.0)
    budget: BudgetRule = option(BudgetRule.quantile, "d_b: quantile of each response, or fixed")
    token_budget: float = option(0.02, "d_b if fixed, else its lower bound; 0.015 for post-trained models", low=0.0)
    largest_factor: float = option(2.0, "upper bound of d_b in units of token_budget; 5 in the authors' code", low=1.0)

    paper = "2606.10968"
    changes = "tokens are masked by a bound that tightens as their prefix moves and is tighter for early tokens"

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
        import torch

        mask_BT = inputs.mask_BT
        change_BT = probability_change(inputs).masked_fill(~mask_BT, 0.0)
        # Relative to the token limit, not to the longest response here, so that micro-batches do not change the
        # weights.
        last = max(inputs.counts.max_response_tokens - 1, 1)
        fall_T = torch.arange(mask_BT.shape[1], device=change_BT.device, dtype=change_BT.dtype) / last
        weights_BT = (1 - (1 - self.smallest_weight) * fall_T) * mask_BT
        used_BT = weights_BT * change_BT.abs()
        earned_BT = self._token_budgets(change_BT, mask_BT) * _before(weights_BT)
        allowed_BT = (self.delta + earned_BT - _before(used_BT)).clamp(max=self.delta)
        log_ratios_BT = inputs.log_probs_BT.detach() - inputs.old_log_probs_BT
        return (inputs.advantages_BT * log_ratios_BT <= 0) | (used_BT <= allowed_BT)

    def _token_budgets(self, change_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """d_b of each response, [B, 1]."""
        if self.budget is BudgetRule.fixed:
            return change_BT.new_full((len(change_BT), 1), self.token_budget)
        real_BT = change_BT.abs().masked_fill(~mask_BT, float("nan"))
        ninth_B1 = real_BT.nanquantile(0.9, dim=1, keepdim=True)
        return ninth_B1.clamp(self.token_budget, self.largest_factor * self.token_budget)


def _before(values_BT: Tensor) -> Tensor:
    """Exclusive cumulative sums over tokens."""
    return values_BT.cumsum(dim=1) - values_BT
