"""Advantages from rewards: pure functions of the group matrix."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class AdvantageScale(StrEnum):
    """What a centred reward is divided by: its group's standard deviation, or nothing (Dr. GRPO)."""

    std = "std"
    none = "none"


def group_advantages(rewards_PG: Tensor, scale: AdvantageScale = AdvantageScale.std, eps: float = 1e-6) -> Tensor:
    """Reward minus the mean of its group, over the group's spread: A = (r - mean_G r) / (std_G r + eps), shape [P, G].

    `std` is the sample standard deviation (G - 1 in the denominator), as in the GRPO implementations of verl and TRL;
    with `AdvantageScale.none` A = r - mean_G r (arXiv:2503.20783). A group of equal rewards gets exact zeros: it
    carries no signal. With G = 1 every advantage is zero.
    """
    # The mean of equal numbers can be off by a rounding error, which 1/eps would turn into a signal.
    silent_P1 = (rewards_PG == rewards_PG[:, :1]).all(dim=1, keepdim=True)
    centred_PG = (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)).masked_fill(silent_P1, 0.0)
    if scale is AdvantageScale.none or rewards_PG.shape[1] == 1:
        return centred_PG
    return centred_PG / (rewards_PG.std(dim=1, keepdim=True) + eps)
