"""AsyPPO's entropy bonus, without tokens on which the critics differ most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.critic_spread import spreads, without_highest
from sfpo_bench.algorithms.penalties.protocol import Penalty
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class SpreadEntropy(Penalty):
    """-coefficient * I_t H_t, mean over the tokens of the mini-batch (AsyPPO, arXiv:2510.01656); H_t is the entropy.

    I_t is 0 on the share `highest` of the tokens with the largest standard deviation of the critics' values, except
    ties with the largest remaining one.
    """

    kind: str = option("spread_entropy", "name of the penalty")
    coefficient: float = option(0.001, "beta: weight of the entropy bonus", low=0.0)
    highest: float = option(0.2, "h: share of the tokens without the bonus", low=0.0, high=1.0)

    paper = "2510.01656"
    trust = "T"
    changes = "an entropy bonus, except for tokens on which the critics differ most"
    extra_passes = "1 forward before each optimizer step"
    not_plain = "the entropy term adds its gradient"

    least_modules = 2

    @property
    def uses_entropy(self) -> bool:
        return self.coefficient > 0

    @property
    def needs_every_row(self) -> bool:
        return self.uses_entropy

    @property
    def uses_statistics(self) -> bool:
        return self.uses_entropy and self.highest > 0

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        kept_BT = without_highest(spreads(mini_batch), mini_batch.mask_BT, self.highest)
        return {"kept": mini_batch.by_row(kept_BT)}

    def row_losses(self, inputs: LossInputs) -> Tensor | None:
        if not self.uses_entropy:
            return None
        assert inputs.entropies_BT is not None
        kept_BT = inputs.mask_BT
        if self.uses_statistics:
            kept_BT = kept_BT & inputs.of_rows(inputs.statistics["kept"])
        bonus_B = inputs.entropies_BT.masked_fill(~kept_BT, 0.0).sum(dim=1)
        return -self.coefficient * bonus_B / max(inputs.counts.tokens, 1)
