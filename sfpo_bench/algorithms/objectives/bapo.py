"""BAPO: clip bounds that adapt until positive advantages have a target share of the mini-batch's loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.clipped import bounded_surrogate, dual_clipped
from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class BoundOrder(StrEnum):
    """The bound that rises first, up to its top: `high_first` (the paper) or `low_first` (the code)."""

    high_first = "high_first"
    low_first = "low_first"


class Balance(StrEnum):
    """The balance that is compared with the target, with P and N the sums over positive and negative advantages.

    `share` is P / (P + N) (the paper), `ratio` is P / N (the code). A share s equals the ratio s / (1 - s).
    """

    share = "share"
    ratio = "ratio"


@dataclass
class Bapo(PolicyGradient):
    """-min(r A, clip(r, low, high) A) with bounds computed for each mini-batch (arXiv:2510.18927).

    P = sum of min(r, high) |A| over A > 0, N = sum of max(r, low) |A| over A < 0, each token weighted by its old
    probability with `weight_by_prob`. While the balance is below the target, first one bound rises step by step to its
    top, then the other. For A < 0 a dual clip limits the loss to dual_clip |A|.
    """

    kind: str = option("bapo", "name of the objective")
    measure: Balance = option(Balance.share, "balance that is compared with the target: share (paper) or ratio (code)")
    target: float = option(0.4, "target balance: 0.4 as a share is 0.667 as a ratio", low=0.0)
    order: BoundOrder = option(BoundOrder.high_first, "the bound that rises first: high_first (paper) or low_first")
    weight_by_prob: bool = option(True, "weight each token of the balance by its old probability; false in the code")
    low_start: float = option(0.6, "initial lower clip bound", low=0.0, high=1.0)
    low_top: float = option(0.9, "largest lower clip bound", low=0.0, high=1.0)
    low_step: float = option(0.02, "step size of the lower clip bound", above=0.0)
    high_start: float = option(1.2, "initial upper clip bound", low=1.0)
    high_top: float = option(3.0, "largest upper clip bound", low=1.0)
    high_step: float = option(0.05, "step size of the upper clip bound", above=0.0)
    dual_clip: float = option(0.0, "largest loss / |A| where A < 0, 3 in the code; 0: none", low=0.0)

    surrogate_uses_statistics = True

    paper = "2510.18927"
    changes = "clip bounds rise until positive advantages have a target share of the loss"

    def check(self, key: str, group: int) -> None:
        super().check(key, group)
        for name, start, top in (
            ("low", self.low_start, self.low_top),
            ("high", self.high_start, self.high_top),
        ):
            if start > top:
                raise ConfigError(f"{key}.{name}_start = {start:g} is above {key}.{name}_top = {top:g}; expected below")
        if self.measure is Balance.share and self.target > 1:
            raise ConfigError(f"{key}.target = {self.target:g} as a share; expected at most 1, or {key}.measure=ratio")
        if 0 < self.dual_clip <= 1:
            raise ConfigError(
                f"{key}.dual_clip = {self.dual_clip:g} clips ratios of 1; expected above 1, or 0 for none"
            )

    def bounds(self) -> Iterator[tuple[float, float]]:
        """Pairs of lower and upper bound, from the initial ones to both tops, in order."""
        lows = _rising(self.low_start, self.low_top, self.low_step)
        highs = _rising(self.high_start, self.high_top, self.high_step)
        if self.order is BoundOrder.high_first:
            yield from ((lows[0], high) for high in highs)
            yield from ((low, highs[-1]) for low in lows[1:])
        else:
            yield from ((low, highs[0]) for low in lows)
            yield from ((lows[-1], high) for high in highs[1:])

    def surrogate_statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        mask_BT = mini_batch.mask_BT
        advantages_N = mini_batch.advantages_BT.expand_as(mask_BT)[mask_BT].double()
        ratios_N, sizes_N = log_ratios_BT[mask_BT].double().exp(), advantages_N.abs()
        if self.weight_by_prob:
            sizes_N = sizes_N * mini_batch.old_log_probs_BT[mask_BT].double().exp()
        good_N, bad_N = advantages_N > 0, advantages_N < 0
        low, high = self.low_top, self.high_top
        for low, high in self.bounds():
            positive = float((ratios_N.clamp(max=high) * sizes_N)[good_N].sum())
            negative = float((ratios_N.clamp(min=low) * sizes_N)[bad_N].sum())
            whole = negative + positive if self.measure is Balance.share else negative
            if positive >= self.target * whole:
                break
        return {"low": ratios_N.new_tensor(low), "high": ratios_N.new_tensor(high)}

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        advantages_BT = inputs.advantages_BT
        low, high = float(inputs.statistics["low"]), float(inputs.statistics["high"])
        found = bounded_surrogate(log_ratios_BT, advantages_BT, low, high)
        return dual_clipped(*found, advantages_BT, self.dual_clip)


def _rising(start: float, top: float, step: float) -> list[float]:
    """start, start + step, ..., top; the last step may be shorter."""
    steps = math.ceil((top - start) / step - 1e-9)
    return [min(start + number * step, top) for number in range(steps)] + [top]
