"""DPO on pairs of each group's best and worst response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Loss, LossInputs, Objective
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Dpo(Facts, Objective):
    """log(1 + exp(-beta (d_w - d_l))), averaged over the pairs of a mini-batch (DPO, arXiv:2305.18290, Eq. 7).

    d is the sum of log pi - log pi_ref over a response's tokens. A pair is a group's response with the largest
    advantage, w, and the one with the smallest, l (the first ones in ties); a group of equal advantages has no pair. At
    pi = pi_ref the loss is log 2. The rows of a pair may be in different micro-batches or on different ranks, so
    `statistics` computes the derivative of the loss with respect to each row's d.
    """

    kind: str = option("dpo", "name of the objective")
    beta: float = option(0.1, "strength of the KL constraint to the reference", above=0.0)

    paper = "2305.18290"
    changes = "preference pairs of a group's responses replace the policy gradient; the reference replaces the ratio"
    extra_passes = "1 forward before each optimizer step, and 1 of the reference"
    extra_memory = "the reference's weights"
    not_plain = "it uses preference pairs instead of advantages"

    uses_reference = True
    uses_statistics = True
    compares_rows = True

    def check(self, key: str, group: int) -> None:
        if group < 2:
            raise ConfigError(
                f"rollout.group = {group} with {key}.kind = {self.kind}: a pair is two responses to one prompt; set "
                "rollout.group to at least 2"
            )

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        import torch

        moved_B, lengths_B = _moved(mini_batch), mini_batch.mask_BT.sum(dim=1)
        assert mini_batch.groups_B is not None
        scores_B = (mini_batch.advantages_BT * mini_batch.mask_BT).sum(dim=1) / lengths_B
        found = pairs(scores_B.tolist(), mini_batch.groups_B.tolist())
        values_B, slopes_B = torch.zeros_like(moved_B), torch.zeros_like(moved_B)
        if found:
            best, worst = torch.tensor(found, device=moved_B.device).unbind(dim=1)
            gaps = self.beta * (moved_B[best] - moved_B[worst])
            losses, pulls = -torch.nn.functional.logsigmoid(gaps), self.beta * torch.sigmoid(-gaps)
            values_B[best] = values_B[worst] = losses / 2 / len(found)
            slopes_B[best], slopes_B[worst] = -pulls / len(found), pulls / len(found)
        return {"values": mini_batch.by_row(values_B), "slopes": mini_batch.by_row(slopes_B)}

    def loss(self, inputs: LossInputs) -> Loss:
        """Half of the loss of each row's pair, with the row's part of the gradient."""
        moved_B = _moved(inputs)
        values_B, slopes_B = (inputs.of_rows(inputs.statistics[name]) for name in ("values", "slopes"))
        return Loss((values_B + slopes_B * (moved_B - moved_B.detach())).sum(), moved_B.new_zeros(()))


def _moved(inputs: LossInputs) -> Tensor:
    """The d of each row, [B]."""
    assert inputs.reference_log_probs_BT is not None
    return (inputs.log_probs_BT - inputs.reference_log_probs_BT).masked_fill(~inputs.mask_BT, 0.0).sum(dim=1)


def pairs(scores: Sequence[float], groups: Sequence[int]) -> list[tuple[int, int]]:
    """The indices of each group's best and worst row (the first ones in ties); no pair where all are equal."""
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    found = [(max(places, key=scores.__getitem__), min(places, key=scores.__getitem__)) for places in members.values()]
    return [(best, worst) for best, worst in found if scores[best] > scores[worst]]
