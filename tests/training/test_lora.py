"""Adapters: only they move, are kept and repositioned; merged they are the same policy."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.protocols import UpdateRule
from sfpo_bench.algorithms.update_rules import OnePass, Repeat, SlowFast
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.models.lora import adapt, merge_into, merged
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import LocalLearner
from tests.extras import needs
from tests.training.policies import batch, policy


def adapted(dtype: torch.dtype = torch.float64, seed: int = 0) -> PreTrainedModel:
    needs("peft")
    model = policy(dtype=dtype)
    adapt(model, 2, seed)
    return model


def learn(rule: UpdateRule, model: PreTrainedModel) -> LocalLearner:
    learner = LocalLearner(model, Clipped(), LearnerSettings(learning_rate=1e-2), 1.0)
    for step in (1, 2):
        data = batch(4, seed=step)
        learner.begin_step(step, data)
        rule.update(learner, data)
        learner.end_step()
    return learner


def copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in weights.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_only_the_adapter_moves_and_only_it_has_masters_and_an_anchor(dtype: torch.dtype) -> None:
    model = adapted(dtype)
    before = copies(dict(model.named_parameters()))
    learner = learn(SlowFast(), model)
    moved = {name for name, weight in learner.weights().items() if not torch.equal(weight, before[name])}
    assert moved == set(learner.masters.masters) == {name for name in before if "lora_" in name}
    learner.snapshot(SlowFast().moments)
    assert set(learner.masters.anchor_tensors()) == moved


def test_the_limits_of_alpha_hold_for_adapters_bit_for_bit() -> None:
    for rule, limit in ((SlowFast(alpha=1.0), Repeat(passes=4)), (SlowFast(alpha=0.0), OnePass())):
        a, b = (copies(learn(r, adapted()).masters.masters) for r in (rule, limit))
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_an_adapted_model_starts_as_the_model_and_ends_as_what_is_merged() -> None:
    ids = torch.randint(2, 23, (2, 9), generator=torch.Generator().manual_seed(0))
    plain, model = policy().eval(), adapted().eval()
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)
        learner = learn(SlowFast(), model)
        expected = model(input_ids=ids).logits
        names = dict(plain.named_parameters())
        found = merged(learner.weights())
        assert set(found) == set(names)
        for checkpoint in (learner.masters.masters, found):
            written = policy().eval()
            merge_into(written, checkpoint)
            assert float((written(input_ids=ids).logits - expected).abs().max()) < 1e-5
        assert float((plain(input_ids=ids).logits - expected).abs().max()) > 1e-3


def test_equal_seeds_start_from_equal_adapters_and_others_differ() -> None:
    one, same, other = (copies(dict(adapted(seed=seed).named_parameters())) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_without_peft_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[lora\]'"):
        adapt(policy(), 2, 0)
