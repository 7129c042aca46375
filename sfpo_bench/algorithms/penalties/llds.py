"""LLDS: a penalty on good responses whose likelihood decreases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.penalties.protocol import Penalty
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class Gate(StrEnum):
    """The span whose summed log-prob must have decreased: a run of unmasked tokens, or the response."""

    action = "action"
    response = "response"


class Divisor(StrEnum):
    """The tokens of the mini-batch in the denominator.

    `preserved` are those of responses with A >= 0 (the paper), `every` all (the authors' code), `gated` those of open
    gates (verl's pull request).
    """

    preserved = "preserved"
    every = "every"
    gated = "gated"


@dataclass
class Llds(Penalty):
    """weight sum over A >= 0 of 1[sum_k D_k > 0] sum_k max(0, D_k) / tokens (arXiv:2512.04220).

    D = log pi_old - log pi. k runs over an action, a run of generated tokens; single-turn text has one per response.
    Gates are detached. At pi = pi_old value and gradient are 0. The smaller weight of answer tokens (MA) is left out,
    since the loss does not know which tokens are the answer.
    """

    kind: str = option("llds", "name of the penalty")
    weight: float = option(0.2, "lambda: weight of the penalty; 0.1 in the paper's first version", low=0.0)
    gate: Gate = option(Gate.action, "span whose likelihood must have decreased: action or response")
    divisor: Divisor = option(Divisor.preserved, "tokens in the denominator: preserved (paper), every (code) or gated")

    paper = "2512.04220"
    changes = "a penalty when responses with advantage >= 0 become less likely"
    extra_passes = "1 forward before each optimizer step, unless divisor=every"

    @property
    def needs_every_row(self) -> bool:
        return self.weight > 0

    @property
    def uses_statistics(self) -> bool:
        return self.weight > 0 and self.divisor is not Divisor.every

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        counted_BT = self._preserved(mini_batch)
        if self.divisor is Divisor.gated:
            counted_BT = counted_BT & self._open(mini_batch)
        return {"tokens": counted_BT.sum()}

    def row_losses(self, inputs: LossInputs) -> Tensor | None:
        if self.weight == 0:
            return None
        kept_BT = self._preserved(inputs) & self._open(inputs)
        fallen_B = _fall(inputs).clamp(min=0).masked_fill(~kept_BT, 0.0).sum(dim=1)
        if self.divisor is Divisor.every:
            return self.weight * fallen_B / max(inputs.counts.tokens, 1)
        return self.weight * fallen_B / inputs.statistics["tokens"].clamp(min=1)

    def _preserved(self, inputs: LossInputs) -> Tensor:
        return (inputs.advantages_BT >= 0) & inputs.mask_BT

    def _open(self, inputs: LossInputs) -> Tensor:
        """True on the tokens of actions or responses whose log-prob decreased."""
        fall_BT = _fall(inputs).detach().masked_fill(~inputs.mask_BT, 0.0)
        if self.gate is Gate.response:
            return fall_BT.sum(dim=1, keepdim=True) > 0
        mask_BT = inputs.mask_BT.long()
        # Number the actions: a new one starts where a token follows a masked one.
        number_BT = mask_BT.diff(dim=1, prepend=mask_BT.new_zeros(len(mask_BT), 1)).clamp(min=0).cumsum(dim=1)
        # At most one action per token; their true number would have to be read from the device.
        sums_BA = fall_BT.new_zeros(len(fall_BT), mask_BT.shape[1] + 1).scatter_add(1, number_BT, fall_BT)
        return sums_BA.gather(1, number_BT) > 0


def _fall(inputs: LossInputs) -> Tensor:
    return inputs.old_log_probs_BT - inputs.log_probs_BT
