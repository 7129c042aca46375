"""GAE: generalized advantage estimation with one or several critics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sfpo_bench.algorithms.advantages.whitened_returns import whitened
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.modules.names import answers_to
from sfpo_bench.algorithms.protocols import Advantage, Rewarded
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class GeneralizedAdvantage(Facts, Advantage):
    """A_t = sum over l of (gamma lambda)^l delta_(t+l), delta_t = r_t + gamma V_(t+1) - V_t (GAE, arXiv:1506.02438).

    The reward is on a response's last token, after which V is 0, also for truncated responses. V is the mean over the
    trained critics, whose target is A + V, the lambda-return. V = 0 with gamma = lambda = 1 is REINFORCE: every token's
    advantage is the reward.
    """

    kind: str = option("gae", "name of the advantage")
    gamma: float = option(1.0, "discount per token", above=0.0, high=1.0)
    gae_lambda: float = option(
        1.0, "lambda: 1 uses rewards only (no bootstrapping), 0 only the critic's next value", low=0.0, high=1.0
    )
    whiten: bool = option(False, "shift and scale advantages to mean 0 and variance 1 over the batch's tokens")

    paper = "1506.02438"
    changes = "a critic's token values replace group statistics"

    modules: ClassVar[Sequence[str]] = ("critic",)

    def advantages(self, rewarded: Rewarded) -> Tensor:
        found_BT = self._advantages(rewarded)
        return whitened(found_BT, rewarded.mask_BT) if self.whiten else found_BT

    def returns(self, rewarded: Rewarded) -> Tensor:
        return self._advantages(rewarded) + self._values(rewarded)

    def _values(self, rewarded: Rewarded) -> Tensor:
        scores = rewarded.scores
        values = [scores[module] for module in scores if any(answers_to(module, name) for name in self.modules)]
        return sum(values[1:], start=values[0]) / len(values)

    def _advantages(self, rewarded: Rewarded) -> Tensor:
        mask_BT, values_BT = rewarded.mask_BT, self._values(rewarded)
        rewards_BT = values_BT.new_zeros(mask_BT.shape)
        rewards_BT.scatter_(1, rewarded.lengths_PG.reshape(-1, 1) - 1, rewarded.rewards_PG.reshape(-1, 1))
        found_BT = values_BT.new_zeros(mask_BT.shape)
        next_value_B = next_B = values_BT.new_zeros(len(mask_BT))  # after the last token, and on padding
        for t in reversed(range(mask_BT.shape[1])):
            delta_B = rewards_BT[:, t] + self.gamma * next_value_B - values_BT[:, t]
            next_B = (delta_B + self.gamma * self.gae_lambda * next_B) * mask_BT[:, t]
            next_value_B = values_BT[:, t]
            found_BT[:, t] = next_B
        return found_BT
