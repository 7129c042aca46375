"""The model that KL is measured against: fixed, or following the policy after steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.protocols import Reference
from sfpo_bench.algorithms.references import HardReference, SoftReference, StartReference
from sfpo_bench.algorithms.update_rules import Repeat
from sfpo_bench.core.types import StageStats
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import LocalLearner
from tests.training.policies import batch, policy
from tests.training.test_learner import ADAMW, largest_difference, same_bits

STEPS = 4


def learned(
    reference: Reference | None, dtype: torch.dtype = torch.float64, *, only_kl: bool = False, **settings: Any
) -> tuple[LocalLearner, list[tuple[StageStats, ...]]]:
    """A learner after some steps of two passes under a KL penalty of weight 1; `only_kl`: of nothing else from the
    second step on, so that a pass's loss is the KL."""
    chosen = LearnerSettings(**{**ADAMW, **settings})
    learner = LocalLearner(policy(dtype=dtype), Clipped(kl_coefficient=1.0), chosen, 1.0, reference=reference)
    stages = []
    for step in range(1, STEPS + 1):
        data = batch(4, seed=step)
        if only_kl and step > 1:
            data = replace(data, advantages_BT=torch.zeros_like(data.advantages_BT))
        learner.begin_step(step, data)
        stages.append(Repeat(passes=2).update(learner, data))
        learner.end_step()
    return learner, stages


def weights(learner: LocalLearner) -> dict[str, Tensor]:
    return {name: master.detach().clone() for name, master in learner.masters.masters.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_mixing_nothing_in_is_the_fixed_reference_bit_for_bit(dtype: torch.dtype) -> None:
    fixed, _ = learned(StartReference(), dtype)
    assert same_bits(weights(learned(SoftReference(mixing=0.0, every_steps=1), dtype)[0]), weights(fixed))
    assert same_bits(weights(learned(None, dtype)[0]), weights(fixed))
    assert largest_difference(weights(learned(SoftReference(mixing=0.5, every_steps=1), dtype)[0]), weights(fixed)) > 0


@pytest.mark.parametrize("reference", [SoftReference(mixing=1.0, every_steps=1), HardReference(every_steps=1)], ids=str)
def test_copied_after_every_step_each_step_begins_without_kl(reference: Reference) -> None:
    _, stages = learned(reference, only_kl=True)
    assert all(0 <= first.loss < 1e-20 for first, _ in stages[1:])
    fixed = learned(StartReference(), only_kl=True)[1]
    assert all(first.loss > 1e-4 for first, _ in fixed[1:])


@pytest.mark.parametrize("mixing", [0.25, 0.6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_the_moving_average_of_the_policys_weights(mixing: float, dtype: torch.dtype) -> None:
    """pi_ref <- a pi + (1 - a) pi_ref after steps 2 and 4, written out in fp64; in the masters' precision."""
    learner = LocalLearner(
        policy(dtype=dtype),
        Clipped(kl_coefficient=1.0),
        LearnerSettings(**ADAMW),
        1.0,
        reference=SoftReference(mixing=mixing, every_steps=2),
    )
    expected = {name: weight.double() for name, weight in weights(learner).items()}
    for step in range(1, STEPS + 1):
        learner.begin_step(step, batch(4, seed=step))
        learner.optimize(batch(4, seed=step), "pass_1")
        learner.end_step()
        if step % 2 == 0:
            expected = {n: mixing * w.double() + (1 - mixing) * expected[n] for n, w in weights(learner).items()}
    found = dict(learner.tensors_beside()["reference"])
    assert {weight.dtype for weight in found.values()} == {torch.float64 if dtype == torch.float64 else torch.float32}
    assert largest_difference(found, expected) < (1e-14 if dtype == torch.float64 else 1e-6)
    assert largest_difference(found, weights(learner)) > 1e-3


def test_small_moves_of_a_bfloat16_reference_are_not_lost() -> None:
    learner, _ = learned(SoftReference(mixing=1e-4, every_steps=1), torch.bfloat16)
    start = {name: parameter.detach().float() for name, parameter in policy(dtype=torch.bfloat16).named_parameters()}
    found = dict(learner.tensors_beside()["reference"])
    moved = [float((found[name].detach() - start[name]).abs().max()) for name in found]
    assert all(0 < distance < 1e-4 for distance in moved), "a step of bfloat16 at 0.3 is 1e-3"


def test_what_a_checkpoint_carries_is_taken_up_and_a_fixed_reference_carries_nothing() -> None:
    moving, _ = learned(SoftReference(mixing=0.5, every_steps=1), torch.bfloat16)
    carried = moving.tensors_beside()
    new = LocalLearner(
        policy(dtype=torch.bfloat16),
        Clipped(kl_coefficient=1.0),
        LearnerSettings(**ADAMW),
        1.0,
        reference=SoftReference(mixing=0.5, every_steps=1),
    )
    new.load_beside(lambda part, like: carried[part])
    new.masters.load(weights(moving))
    losses = []
    for learner in (moving, new):
        learner.begin_step(5, batch(4, seed=9))
        losses.append(learner.optimize(batch(4, seed=9), "pass_1").loss)
    assert losses[0] == losses[1], "of the loss KL is a part"
    fixed, _ = learned(StartReference())
    assert not any(fixed.tensors_beside().values())
