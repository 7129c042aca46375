"""The base class of penalties, which adds nothing."""

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
    """Adds nothing to the loss; the base class of penalties.

    A penalty normalizes by its own definition, not by the objective's `normalization`. A selection's weight of a
    response multiplies it; the mask and the engine correction do not.
    """

    kind: str = option("none", "name of the penalty")

    changes = "nothing is added to the loss"

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """The mini-batch statistics for `row_losses`, such as denominators; called if `uses_statistics`."""
        return {}

    def row_losses(self, inputs: LossInputs) -> Tensor | None:
        """Each response's term in the mini-batch loss, [B], differentiable and without padding; None to add nothing.

        The penalty is the sum over all responses of the mini-batch.
        """
        return None
