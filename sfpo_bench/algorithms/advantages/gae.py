"""GAE: what each token adds to the return that a critic expected."""

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

    The reward stands on a response's last token, behind which nothing is expected, cut off or not. V is the mean over
    the critics that are trained, one or several, which are trained towards A + V, the lambda-returns. V = 0 with
    gamma = lambda = 1 is REINFORCE: the reward at every token.
    """

    kind: str = option("gae", "name of the advantage")
    gamma: float = option(1.0, "discount of what is expected for each token before it", above=0.0, high=1.0)
    gae_lambda: float = option(
        1.0, "weight of later differences: 1 trusts rewards alone, 0 the critic's next value", low=0.0, high=1.0
    )
    whiten: bool = option(False, "shift and scale advantages to mean 0 and variance 1 over the batch's tokens")

    paper = "1506.02438"
    changes = "a critic's values of the tokens in place of group statistics"

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
        next_value_B = next_B = values_BT.new_zeros(len(mask_BT))  # behind the last token; zero on padding too
        for t in reversed(range(mask_BT.shape[1])):
            delta_B = rewards_BT[:, t] + self.gamma * next_value_B - values_BT[:, t]
            next_B = (delta_B + self.gamma * self.gae_lambda * next_B) * mask_BT[:, t]
            next_value_B = values_BT[:, t]
            found_BT[:, t] = next_B
        return found_BT
