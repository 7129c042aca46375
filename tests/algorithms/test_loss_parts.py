"""Ratio, mask, surrogate and penalty of one objective: each with what it needs, none in the way of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.objectives.clipped import Clipped, clipped_surrogate
from sfpo_bench.algorithms.objectives.policy_gradient import Normalization
from sfpo_bench.algorithms.objectives.ratios import Ratio
from sfpo_bench.algorithms.penalties.protocol import Penalty
from sfpo_bench.algorithms.protocols import LossInputs
from sfpo_bench.algorithms.update_rules import Repeat
from sfpo_bench.core.errors import ConfigError
from tests.algorithms.test_objectives import inputs
from tests.training.test_learner import SGD, largest_difference, learn


def distance(inputs: LossInputs) -> Tensor:
    """Mean |log r| of the tokens."""
    return (inputs.log_probs_BT - inputs.old_log_probs_BT).detach().abs()[inputs.mask_BT].mean()


@dataclass
class Scaled(Ratio):
    """log r over one plus its mean size in the mini-batch."""

    uses_statistics = True

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        return {"value": 1 + distance(mini_batch)}

    def log_ratios(self, inputs: LossInputs) -> Tensor:
        return super().log_ratios(inputs) / inputs.statistics["value"]


@dataclass
class Near(Mask):
    """Keeps what is nearer than one and a half times the mini-batch's mean size of the objective's log ratios."""

    uses_statistics = True

    def statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        assert set(mini_batch.statistics) <= {"value"}
        return {"value": 1.5 * log_ratios_BT.abs()[mini_batch.mask_BT].mean()}

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
        assert not log_ratios_BT.requires_grad
        return log_ratios_BT.abs() <= inputs.statistics["value"]


@dataclass
class Drift(Penalty):
    """The sum of |log r| over the number of tokens that have moved, of every response."""

    uses_statistics = needs_every_row = True

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        return {"value": ((mini_batch.log_probs_BT != mini_batch.old_log_probs_BT) & mini_batch.mask_BT).sum()}

    def row_losses(self, inputs: LossInputs) -> Tensor:
        size_BT = (inputs.log_probs_BT - inputs.old_log_probs_BT).abs().masked_fill(~inputs.mask_BT, 0.0)
        return size_BT.sum(dim=1) / inputs.statistics["value"].clamp(min=1)


@dataclass
class Adaptive(Clipped):
    """Clips at the mean size of the log ratios."""

    surrogate_uses_statistics = True

    def surrogate_statistics(self, log_ratios_BT: Tensor, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        return {"value": log_ratios_BT.abs()[mini_batch.mask_BT].mean()}

    def surrogate(self, log_ratios_BT: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        bound = float(inputs.statistics["value"])
        return clipped_surrogate(log_ratios_BT, inputs.advantages_BT, bound, bound)


@dataclass
class Odd(Mask):
    """Keeps every second token."""

    def keeps(self, log_ratios_BT: Tensor, inputs: LossInputs) -> Tensor:
        return (torch.arange(inputs.mask_BT.shape[1]) % 2 == 0).expand_as(inputs.mask_BT)


@dataclass
class Needy(Penalty):
    """Reads what the flags say, and refuses small groups."""

    flags: list[str] = field(default_factory=list)

    @property
    def uses_entropy(self) -> bool:
        return "entropy" in self.flags

    @property
    def uses_reference(self) -> bool:
        return "reference" in self.flags

    def check(self, key: str, group: int) -> None:
        if group < 8:
            raise ConfigError(f"{key} needs groups of 8, not {group}")


def test_four_parts_with_a_statistic_of_one_name_find_their_own() -> None:
    objective, batch = Adaptive(ratio=Scaled(), mask=Near(), penalty=Drift()), inputs(3)
    assert objective.uses_statistics and objective.needs_every_row
    found = objective.loss(replace(batch, statistics=objective.statistics(batch)))

    scale = 1 + distance(batch)
    log_ratios = (batch.log_probs_BT - batch.old_log_probs_BT) / scale
    mean = log_ratios.detach().abs()[batch.mask_BT].mean()
    token, clipped = clipped_surrogate(log_ratios, batch.advantages_BT, float(mean), float(mean))
    keeps = log_ratios.abs() <= 1.5 * mean
    lengths = batch.mask_BT.sum(dim=1)
    expected = ((token * keeps * batch.mask_BT).sum(dim=1) / lengths).mean()
    expected = expected + (log_ratios * scale).abs()[batch.mask_BT].mean()
    assert found.value.item() == pytest.approx(expected.item(), abs=1e-14)
    assert int(found.clipped_tokens) == int(((clipped | ~keeps) & batch.mask_BT).sum())
    assert bool((~keeps & batch.mask_BT).any()), "the mask is at work"


@pytest.mark.parametrize("layout", [{"mini_batches": 1}, {"mini_batches": 2}], ids=str)
def test_statistics_of_parts_are_those_of_the_mini_batch_not_of_the_rows_at_hand(layout: dict[str, Any]) -> None:
    objective = Adaptive(ratio=Scaled(), mask=Near(), penalty=Drift())
    large, small = (
        learn(Repeat(passes=3), objective=objective, steps=2, **SGD, **layout, micro_batch_tokens=tokens)[0]
        for tokens in (16384, 24)
    )
    assert largest_difference(large, small) < 1e-10


@pytest.mark.parametrize("normalization", [Normalization.response_mean, Normalization.token_mean])
def test_a_masked_token_has_no_surrogate_loss_and_keeps_its_place_and_the_added_terms(
    normalization: Normalization,
) -> None:
    batch = inputs(4)
    plain = Clipped(normalization=normalization, kl_coefficient=0.1, entropy_coefficient=0.01)
    masked = replace(plain, mask=Odd())
    odd = torch.arange(batch.mask_BT.shape[1]) % 2 == 0
    # A token whose weight of the engine's correction is zero has lost the same.
    weighted = plain.loss(replace(batch, weights_BT=odd.double().expand_as(batch.mask_BT)))
    assert masked.loss(batch).value.item() == pytest.approx(weighted.value.item(), abs=1e-15)
    gone = (~odd & batch.mask_BT) | plain.surrogate(plain.ratio.log_ratios(batch), batch)[1]
    assert int(masked.loss(batch).clipped_tokens) == int((gone & batch.mask_BT).sum())


def test_a_penalty_is_divided_by_its_own_rule_and_weighted_by_the_selection_alone() -> None:
    batch = inputs(5)
    weights_B = torch.tensor([0.0, 2.0, 1.0, 1.0, 0.5], dtype=torch.float64)
    ones = torch.ones_like(batch.log_probs_BT)
    weighted = replace(batch, row_weights_B=weights_B, weights_BT=0.5 * ones)

    def added(normalization: Normalization, seen: LossInputs) -> float:
        plain = Clipped(normalization=normalization, mask=Odd())
        with_drift = replace(plain, penalty=Drift())
        statistics = with_drift.statistics(seen)
        return with_drift.loss(replace(seen, statistics=statistics)).value.item() - plain.loss(seen).value.item()

    size = (batch.log_probs_BT.detach() - batch.old_log_probs_BT).abs() * batch.mask_BT
    expected = float((size.sum(dim=1) * weights_B).sum() / batch.mask_BT.sum())
    for normalization in (Normalization.response_mean, Normalization.token_mean, Normalization.fixed_length):
        assert added(normalization, weighted) == pytest.approx(expected, abs=1e-14)
        assert added(normalization, batch) == pytest.approx(float(size.sum() / batch.mask_BT.sum()), abs=1e-14)


def test_what_a_part_needs_the_objective_needs_and_a_part_may_refuse() -> None:
    plain = Clipped()
    assert not (plain.uses_statistics or plain.uses_entropy or plain.uses_reference or plain.needs_every_row)
    for parts in ({"ratio": Scaled()}, {"mask": Near()}, {"penalty": Drift()}):
        assert replace(plain, **parts).uses_statistics
    assert replace(plain, penalty=Drift()).needs_every_row
    assert replace(plain, penalty=Needy(flags=["entropy"])).uses_entropy
    assert replace(plain, penalty=Needy(flags=["reference"])).uses_reference
    # What only a part reads is not added as a bonus or as a KL term.
    batch, needy = inputs(6), replace(plain, penalty=Needy(flags=["entropy", "reference"]))
    assert torch.equal(needy.loss(batch).value, plain.loss(batch).value)
    with pytest.raises(ConfigError, match=r"algorithm\.objective\.penalty needs groups of 8, not 4"):
        needy.check("algorithm.objective", 4)
