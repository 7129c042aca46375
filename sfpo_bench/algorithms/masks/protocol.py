"""The base class of masks, which keeps every token."""

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
    """Keeps every token; the base class of masks.

    A masked token has no surrogate loss and counts as clipped. It stays in every denominator and keeps the added terms
    (KL, entropy, penalty).
    """

    kind: str = option("none", "name of the mask")

    changes = "every token keeps its loss"

    def statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """The statistics of the whole mini-batch for `keeps`; called if `uses_statistics`."""
        return {}

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor | None:
        """True where a token keeps its loss, [B, T], arbitrary on padding; None to keep all.

        `log_ratios_BT` are the log-ratios of the objective, detached.
        """
        return None
