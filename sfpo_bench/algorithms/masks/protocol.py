"""Which tokens keep their policy-gradient loss: all of them, and the base of masks that say otherwise."""

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
class Mask(LossPart):
    """Every token keeps its policy-gradient loss. The base of the others.

    A token that is not kept has no surrogate loss and counts as clipped; it stays in every denominator, and the added
    terms (KL, entropy, penalty) keep it.
    """

    kind: str = option("none", "name of the mask")

    changes = "every token keeps its loss"

    def statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """What `keeps` must know of the whole mini-batch; asked for with `uses_statistics`."""
        return {}

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor | None:
        """True where a token keeps its loss, [B, T], anything on padding; None where all do.

        `log_ratios_BT` are those of the objective's ratio, without gradient.
        """
        return None
