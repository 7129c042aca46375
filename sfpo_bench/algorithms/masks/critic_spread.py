"""AsyPPO's mask of tokens on which the critics agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.critic_spread import spreads, without_lowest
from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class CriticSpread(Mask):
    """Masks the tokens on which several critics differ least (AsyPPO, arXiv:2510.01656).

    It masks floor(`lowest` * N) of the N tokens of a mini-batch, by the standard deviation of the critics' values,
    earlier tokens first in ties.
    """

    kind: str = option("critic_spread", "name of the mask")
    lowest: float = option(0.2, "k: share of the tokens that is masked", low=0.0, high=1.0)

    paper = "2510.01656"
    trust = "T"
    changes = "tokens on which the critics agree are masked"
    extra_passes = "1 forward before each optimizer step"
    not_plain = "tokens are masked by the critics' values"

    least_modules = 2

    @property
    def uses_statistics(self) -> bool:
        return self.lowest > 0

    def statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        kept_BT = without_lowest(spreads(mini_batch), mini_batch.mask_BT, self.lowest)
        return {"kept": mini_batch.by_row(kept_BT)}

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor | None:
        return inputs.of_rows(inputs.statistics["kept"]) if self.uses_statistics else None
