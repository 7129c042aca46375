"""An objective that needs the whole mini-batch: what a user would write, for tests of splits and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sfpo_bench.algorithms.objectives.clipped import Clipped, clipped_surrogate
from sfpo_bench.algorithms.protocols import LossInputs


@dataclass
class AdaptiveBound(Clipped):
    """Clips at the mean distance of the mini-batch's tokens from the start: a micro-batch has another mean."""

    whole: bool = True

    @property
    def surrogate_uses_statistics(self) -> bool:
        return self.whole

    def surrogate_statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        return {"bound": _distance(mini_batch)}

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        bound = float(inputs.statistics["bound"] if self.whole else _distance(inputs))
        return clipped_surrogate(log_ratios_BT, inputs.advantages_BT, bound, bound)


def _distance(inputs: LossInputs) -> Tensor:
    return (inputs.log_probs_BT - inputs.old_log_probs_BT).detach().abs()[inputs.mask_BT].mean()
