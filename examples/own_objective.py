"""An objective of your own: -A log pi, mean over responses; no ratio, no clipping.

sfpo-bench train algorithm/objective=custom algorithm.objective.factory=own_objective:Reinforce algorithm.name=reinforce
"""

from dataclasses import dataclass

from sfpo_bench import option
from sfpo_bench.algorithms import Loss, LossInputs, Objective


@dataclass
class Reinforce(Objective):
    """REINFORCE; its baseline is the advantage's business."""

    kind: str = option("reinforce", "name of the objective")

    needs_every_row = False

    def loss(self, inputs: LossInputs) -> Loss:
        lengths_B = inputs.mask_BT.sum(dim=1)
        tokens_BT = -inputs.advantages_BT * inputs.log_probs_BT * inputs.mask_BT
        # Divided by the responses of the whole mini-batch, not by the rows at hand: shares then add up to the loss.
        value = (tokens_BT.sum(dim=1) / lengths_B).sum() / inputs.counts.responses
        return Loss(value, clipped_tokens=lengths_B.new_zeros(()))
