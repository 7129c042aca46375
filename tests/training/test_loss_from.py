"""Response tokens before the first one with a loss bear none: they might as well be the prompt's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.policy_gradient import Normalization
from sfpo_bench.algorithms.objectives.ratios import SequenceRatio
from sfpo_bench.algorithms.update_rules import Repeat
from sfpo_bench.core.types import Completion, FinishReason
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import TrainBatch, assemble
from sfpo_bench.training.learner import LocalLearner
from tests.training.policies import VOCABULARY, policy
from tests.training.test_learner import SGD, largest_difference

# Of each response: its tokens, and how many of them come before the first one with a loss.
ROWS = ((5, 0), (5, 2), (3, 2), (6, 1), (1, 0), (4, 3), (2, 0), (7, 4))


def batches() -> tuple[TrainBatch, TrainBatch]:
    """The same tokens twice: prefixes as parts of responses without a loss, and as parts of prompts."""
    source = torch.Generator().manual_seed(0)
    prompt = tuple(torch.randint(2, VOCABULARY, (3,), generator=source).tolist())
    whole, moved = [], []
    for sample, (length, first) in enumerate(ROWS):
        ids = tuple(torch.randint(2, VOCABULARY, (length,), generator=source).tolist())
        done = Completion("0", sample, prompt, ids, (-1.0,) * length, "", FinishReason.stopped)
        whole.append(done)
        moved.append(
            replace(
                done, prompt_ids=prompt + ids[:first], response_ids=ids[first:], log_probs=(-1.0,) * (length - first)
            )
        )
    advantages = torch.randn(len(ROWS), generator=source, dtype=torch.float64)
    return (
        assemble(whole, advantages, 8, [first for _, first in ROWS]),
        assemble(moved, advantages, 8),
    )


def learned(data: TrainBatch, objective: Clipped, **settings: Any) -> tuple[dict[str, Tensor], list[float]]:
    made = LocalLearner(policy(), objective, LearnerSettings(**SGD, **settings), 1.0)
    made.begin_step(1, data)
    stages = Repeat(passes=2).update(made, data)
    readings = made.end_step()
    numbers = [readings.entropy, readings.mismatch.ratio_mean]
    numbers += [number for one in stages for number in (one.loss, one.ratio_mean, one.kl_to_start, one.entropy)]
    return {name: weight.detach().clone() for name, weight in made.masters.masters.items()}, numbers


@pytest.mark.parametrize("normalization", list(Normalization))
def test_a_prefix_without_loss_is_a_longer_prompt(normalization: Normalization) -> None:
    """Weights, denominators, entropy and statistics of both, whatever length an aggregation divides by."""
    objective = Clipped(normalization=normalization, kl_coefficient=0.1, entropy_coefficient=0.01)
    settings: dict[str, Any] = {"micro_batch_tokens": 24, "block_responses": 4}
    (inside, numbers), (moved, expected) = (learned(data, objective, **settings) for data in batches())
    assert largest_difference(inside, moved) < 1e-12
    assert numbers == pytest.approx(expected, rel=1e-9)


def test_a_ratio_of_the_whole_response_begins_there_too() -> None:
    inside, moved = (learned(data, Clipped(ratio=SequenceRatio()))[0] for data in batches())
    assert largest_difference(inside, moved) < 1e-12


def test_with_a_loss_on_the_prefix_the_weights_are_others() -> None:
    data, _ = batches()
    everywhere = replace(data, loss_from_B=torch.zeros_like(data.loss_from_B))
    assert largest_difference(learned(data, Clipped())[0], learned(everywhere, Clipped())[0]) > 1e-5
