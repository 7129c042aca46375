"""The clipped surrogate of GRPO and its variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.policy_gradient import PolicyGradient
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Clipped(PolicyGradient):
    """-min(r_t A, clip(r_t, 1 - clip_low, 1 + clip_high) A) on each token (arXiv:2402.03300, Eq. 3).

    With `dual_clip` c the loss is at most c |A| where A < 0 (arXiv:1912.09729, Eq. 5), so a ratio above c, otherwise
    unbounded there, has no gradient.
    """

    kind: str = option("clipped", "name of the objective")
    clip_low: float = option(0.2, "ratios below 1 - clip_low are clipped", above=0.0, high=1.0)
    clip_high: float = option(0.2, "ratios above 1 + clip_high are clipped", above=0.0)
    dual_clip: float = option(0.0, "ratios above it are clipped where A < 0; 0: none", low=0.0)

    paper = "2402.03300, 2503.20783, 2503.14476"
    changes = "the gradient is zero where the ratio leaves its range in the direction of the advantage"

    def check(self, key: str, group: int) -> None:
        super().check(key, group)
        if 0 < self.dual_clip <= 1 + self.clip_high:
            raise ConfigError(
                f"{key}.dual_clip = {self.dual_clip:g} with {key}.clip_high = {self.clip_high:g}: ratios near 1 would "
                f"lose their gradient; expected more than {1 + self.clip_high:g}, or 0 for none"
            )

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        found = clipped_surrogate(log_ratios_BT, inputs.advantages_BT, self.clip_low, self.clip_high)
        return dual_clipped(*found, inputs.advantages_BT, self.dual_clip)


def clipped_surrogate(
    log_ratios_BT: Tensor, advantages_BT: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """Token losses -min(r A, clip(r) A) and where the clip is active, both [B, T] (arXiv:1707.06347, Eq. 7)."""
    return bounded_surrogate(log_ratios_BT, advantages_BT, 1 - clip_low, 1 + clip_high)


def bounded_surrogate(
    log_ratios_BT: Tensor, advantages_BT: Tensor, lowest: float, highest: float
) -> tuple[Tensor, Tensor]:
    """As `clipped_surrogate`, with bounds of the ratio itself instead of distances from 1."""
    ratios_BT = log_ratios_BT.exp()
    plain_BT = ratios_BT * advantages_BT
    clipped_BT = ratios_BT.clamp(lowest, highest) * advantages_BT
    return -plain_BT.minimum(clipped_BT), clipped_BT < plain_BT


def dual_clipped(token_BT: Tensor, clipped_BT: Tensor, advantages_BT: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """Token losses limited to `largest` |A| where A < 0 (arXiv:1912.09729, Eq. 5); unchanged for 0."""
    if not largest:
        return token_BT, clipped_BT
    # Where A > 0 the loss is negative, so the limit has no effect.
    most_BT = (largest * advantages_BT.abs()).expand_as(token_BT)
    return token_BT.minimum(most_BT), clipped_BT | (most_BT < token_BT)
