"""Micro-batches are filled densely from a window of pending responses, which changes neither loss nor gradient."""

from __future__ import annotations

import pytest
import torch

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.policy_gradient import Normalization
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import TrainBatch, micro_batches
from sfpo_bench.training.learner import LocalLearner
from tests.training.policies import batch, policy
from tests.training.test_learner import SGD, largest_difference
from tests.training.test_selection import learned

BUDGET = 15


def rows_of(parts: list[TrainBatch]) -> list[list[int]]:
    return [part.rows_B.tolist() for part in parts]


@pytest.mark.parametrize("budget", [1, 9, 20, 33, 10**6])
def test_a_window_of_one_takes_the_next_or_ends_the_micro_batch(budget: int) -> None:
    data = batch(6, seed=3)
    found = rows_of(micro_batches(data, budget))
    order = [row for part in found for row in part]
    expected: list[list[int]] = [[]]
    for row in order:
        both = data.select(torch.tensor([*expected[-1], row])) if expected[-1] else None
        if both is not None and both.tokens > budget:
            expected.append([])
        expected[-1].append(row)
    assert found == expected


@pytest.mark.parametrize("window", [2, 5, 100])
def test_a_wider_window_holds_every_row_once_within_the_budget_and_leaves_no_row_that_fits(window: int) -> None:
    data = batch(6, seed=3)
    parts = micro_batches(data, BUDGET, window)
    assert sorted(row for part in rows_of(parts) for row in part) == list(range(len(data)))
    order = [row for part in rows_of(micro_batches(data, 10**9)) for row in part]
    for place, part in enumerate(rows_of(parts)):
        own = data.select(torch.tensor(part))
        assert own.tokens <= BUDGET or len(part) == 1
        later = {row for rest in rows_of(parts)[place + 1 :] for row in rest}
        for row in [row for row in order if row in later][:window]:
            assert data.select(torch.tensor([*part, row])).tokens > BUDGET
    assert len(parts) < len(micro_batches(data, BUDGET)), "denser than the order alone allows"


@pytest.mark.parametrize("normalization", [Normalization.response_mean, Normalization.token_mean])
def test_packed_and_unpacked_have_the_same_loss_and_gradient(normalization: Normalization) -> None:
    """Dense packing against every response in a forward and backward of its own."""
    data, objective = batch(6, seed=3), Clipped(normalization=normalization, entropy_coefficient=0.01)
    alone = learned(data, objective, micro_batch_tokens=1)
    losses = []
    for tokens, window in ((1, 1), (BUDGET, 1), (BUDGET, 5), (10**6, 100)):
        settings = LearnerSettings(**SGD, micro_batch_tokens=tokens, packing_window=window)
        made = LocalLearner(policy(), objective, settings, 1.0)
        made.begin_step(1, data)
        losses.append(made.optimize(data, "pass_1").loss)
        found = learned(data, objective, micro_batch_tokens=tokens, packing_window=window)
        assert largest_difference(found, alone) < 1e-12
    assert losses == pytest.approx([losses[0]] * 4, abs=1e-13)
