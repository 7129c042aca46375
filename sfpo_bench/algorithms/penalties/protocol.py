"""A term added to the policy-gradient loss: none, and the base of those that add one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.loss_parts import LossPart
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Penalty(LossPart):
    """Nothing is added to the loss. The base of the others.

    A penalty divides by what its definition says, not by the objective's `normalization`; a selection's weight of a
    response multiplies it, neither the mask nor the engine's correction does.
    """

    kind: str = option("none", "name of the penalty")

    changes = "nothing is added to the loss"

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """What `row_losses` must know of the whole mini-batch, such as what it divides by; asked for with
        `uses_statistics`."""
        return {}

    def row_losses(self, inputs: LossInputs) -> Tensor | None:
        """What each response adds to the loss of the mini-batch, [B], with its gradient; None where nothing is added.

        Padding must not enter. The sum over all responses of the mini-batch is the whole term.
        """
        return None
