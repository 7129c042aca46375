"""PPO-BR: the clip range widens with the policy's entropy and narrows while rewards are constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.objectives.clipped import Clipped, clipped_surrogate
from sfpo_bench.algorithms.protocols import LossInputs, RuleState
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class PpoBr(Clipped):
    """The clipped surrogate with clip_low and clip_high times 1 + l1 tanh(phi) - l2 tanh(psi) (arXiv:2505.17714).

    Unverified: the paper only states that phi(H) and psi(dR) map to [0, 1]. Our reading: phi = H / log(vocabulary). dR
    = (mean of the later half - mean of the earlier half) / |mean of the earlier half| over the last `window` mean
    rewards. psi = 1 - tanh |dR|, so that the range narrows while rewards are constant. H and the window end at the
    preceding step; the term of a missing entropy or an incomplete window is 0. With the published coefficients, clip
    bounds of 0.2 vary between 0.1543 and 0.2762.
    """

    kind: str = option("ppo_br", "name of the objective")
    expansion: float = option(0.5, "l1: widening of the range with the policy's entropy", low=0.0)
    contraction: float = option(0.3, "l2: narrowing of the range while rewards are constant", low=0.0, high=1.0)
    window: int = option(10, "training steps whose mean rewards are compared, first half with second half", low=2)

    paper = "2505.17714"
    trust = "?"
    unverified = (
        "phi = H / log(vocabulary), psi = 1 - tanh |dR|, dR between halves of the window, all of the step before"
    )
    changes = "clip bounds that widen with entropy and narrow while rewards are constant"

    def __post_init__(self) -> None:
        # Not fields, since every field is a setting.
        self._entropy = 0.0
        self._rewards: list[float] = []

    def factor(self, vocabulary: int) -> float:
        """The current factor on the clip bounds."""
        phi = min(1.0, self._entropy / math.log(vocabulary)) if vocabulary > 1 else 0.0
        psi = 1 - math.tanh(abs(relative_change(self._rewards))) if len(self._rewards) == self.window else 0.0
        return 1 + self.expansion * math.tanh(phi) - self.contraction * math.tanh(psi)

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        factor = self.factor(inputs.vocabulary)
        return clipped_surrogate(log_ratios_BT, inputs.advantages_BT, self.clip_low * factor, self.clip_high * factor)

    def observe(self, step: int, entropy: float, reward_mean: float) -> None:
        self._entropy = entropy
        self._rewards = [*self._rewards, reward_mean][-self.window :]

    def state(self) -> RuleState:
        return {"entropy": self._entropy, "rewards": list(self._rewards)}

    def restore(self, state: RuleState) -> None:
        entropy, rewards = state["entropy"], state["rewards"]
        assert isinstance(entropy, float) and isinstance(rewards, list)
        self._entropy, self._rewards = entropy, [float(reward) for reward in rewards]


def relative_change(values: Sequence[float]) -> float:
    """(mean of the later half - mean of the earlier half) / |mean of the earlier half|.

    It is infinite where only the earlier mean is 0. The middle one of an odd number is in the later half.
    """
    half = len(values) // 2
    before, after = fmean(values[:half]), fmean(values[half:])
    if after == before:
        return 0.0
    return (after - before) / abs(before) if before else math.copysign(math.inf, after)
