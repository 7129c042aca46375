"""What an objective asks of the whole mini-batch does not depend on how the mini-batch is split."""

from __future__ import annotations

from typing import Any

import pytest

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.update_rules import Repeat
from tests.training.adaptive_bound import AdaptiveBound
from tests.training.test_learner import SGD, largest_difference, learn


@pytest.mark.parametrize("mini_batches", [1, 2])
def test_a_bound_over_the_mini_batch_ignores_micro_batches_where_one_over_the_rows_at_hand_does_not(
    mini_batches: int,
) -> None:
    layout: dict[str, Any] = {**SGD, "mini_batches": mini_batches}

    def gap(objective: Clipped) -> float:
        large, small = (
            learn(Repeat(passes=3), objective=objective, steps=2, **layout, micro_batch_tokens=tokens)[0]
            for tokens in (16384, 24)
        )
        return largest_difference(large, small)

    assert gap(AdaptiveBound()) < 1e-10
    assert gap(AdaptiveBound(whole=False)) > 1e-6
