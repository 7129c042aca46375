"""Of every registered objective: a split changes nothing, and where every ratio is one it is the policy gradient."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.policy_gradient import Normalization, response_weights
from sfpo_bench.algorithms.protocols import LossInputs, Objective
from sfpo_bench.core.errors import ConfigError
from tests.methods.members import OBJECTIVE, combined_objectives, objectives, why_not_plain
from tests.methods.mini_batches import GROUP, GROUPS, logits, loss_and_gradient, mini_batch, weighted

ROWS = list(range(GROUP * GROUPS))
_SHUFFLED = [7, 0, 10, 3, 5, 11, 2, 8, 1, 9, 4, 6]
SPLITS = {
    "micro-batches": [_SHUFFLED[:5], _SHUFFLED[5:6], _SHUFFLED[6:]],
    "two ranks": [ROWS[0::2], ROWS[1:6:2], ROWS[7::2]],
    "row by row": [[row] for row in _SHUFFLED],
}
TOLERANCE = 1e-10


def with_added_terms(objective: Objective) -> Objective:
    """The same with a weight on each term that it can add."""
    added = {
        entry.name: 0.1
        for entry in fields(objective)  # type: ignore[arg-type]  # every registered objective is a dataclass
        if entry.name in ("kl_coefficient", "entropy_coefficient") and getattr(objective, entry.name) == 0
    }
    return replace(objective, **added) if added else objective  # type: ignore[type-var]  # the same


def refused(objective: Objective) -> bool:
    """True for a combination that is refused by its name."""
    try:
        objective.check(OBJECTIVE, GROUP)
    except ConfigError as error:
        assert OBJECTIVE in str(error)
        return True
    return False


def check_splits(objective: Objective, inputs: LossInputs, logits_BTV: Tensor) -> None:
    seen = weighted(inputs) if objective.applies_weights else inputs
    loss, gradient = loss_and_gradient(objective, seen, logits_BTV, [ROWS])
    assert bool(gradient.isfinite().all()) and float(gradient.abs().max()) > 1e-6
    for split, parts in SPLITS.items():
        found, moved = loss_and_gradient(objective, seen, logits_BTV, parts)
        assert found == pytest.approx(loss, abs=TOLERANCE, rel=TOLERANCE), split
        assert torch.allclose(moved, gradient, rtol=0, atol=TOLERANCE), split


@pytest.mark.parametrize("name", objectives())
def test_a_split_changes_neither_loss_nor_gradient(name: str) -> None:
    objective = objectives()[name]
    if refused(objective):
        return
    logits_BTV = logits()
    for one in (objective, with_added_terms(objective)):
        check_splits(one, mini_batch(logits_BTV, moved=0.3), logits_BTV)


@pytest.mark.slow
def test_a_split_changes_nothing_whatever_nodes_stand_in_an_objective() -> None:
    logits_BTV = logits()
    inputs = mini_batch(logits_BTV, moved=0.3)
    for objective in combined_objectives().values():
        if not refused(objective):
            check_splits(with_added_terms(objective), inputs, logits_BTV)


@pytest.mark.parametrize("name", objectives())
def test_where_every_ratio_is_one_it_is_the_plain_policy_gradient_unless_its_class_says_why_not(name: str) -> None:
    """-A grad log pi, with the weights that the objective's normalization gives responses."""
    objective, logits_BTV = objectives()[name], logits()
    if refused(objective):
        return
    inputs = mini_batch(logits_BTV, moved=0.0)
    _, gradient = loss_and_gradient(objective, inputs, logits_BTV, [ROWS])
    weights_B = response_weights(inputs, getattr(objective, "normalization", Normalization.response_mean))
    plain = -(inputs.advantages_BT * inputs.log_probs_BT * inputs.mask_BT * weights_B[:, None]).sum()
    [expected] = torch.autograd.grad(plain, [logits_BTV], retain_graph=True)
    is_plain = torch.allclose(gradient, expected, rtol=1e-10, atol=1e-14)
    assert is_plain != bool(why_not_plain(objective)), why_not_plain(objective) or "Facts.not_plain says nothing of it"
