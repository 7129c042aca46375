"""An update rule of your own: SFPO whose alpha falls to 0 over `fade_steps` training steps, in place of a trigger.

sfpo-bench train algorithm/update_rule=custom algorithm.update_rule.factory=own_rule:Fading algorithm.name=fading
"""

from dataclasses import dataclass
from typing import Any

from sfpo_bench import StageStats, option
from sfpo_bench.algorithms import Learner, Moments, OnePass, RuleState


@dataclass
class Fading(OnePass):
    """`passes` fast passes, reposition by an alpha that falls from 1 to 0, one slow pass."""

    kind: str = option("fading", "name of the update rule")
    passes: int = option(3, "fast passes over each batch", low=1)
    fade_steps: int = option(100, "training steps until alpha is 0", low=1)

    def __post_init__(self) -> None:
        self._taken: Any = 0  # not a field: every field is a setting

    def update(self, learner: Learner[Any], batch: Any) -> tuple[StageStats, ...]:
        alpha = max(0.0, 1 - self._taken / self.fade_steps)
        self._taken += 1
        if alpha == 0:
            return super().update(learner, batch)
        learner.snapshot(Moments.carry)
        fast = [learner.optimize(batch, f"fast_{number}") for number in range(1, self.passes + 1)]
        learner.reposition(alpha, Moments.carry)
        return (*fast, learner.optimize(batch, "slow"))

    def state(self) -> RuleState:
        return {"taken": self._taken}

    def restore(self, state: RuleState) -> None:
        self._taken = state["taken"]
