"""The plan: shapes are those of the real classes, sums are what they say, the published recipes have one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from sfpo_bench.cli.plan import lines
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.seeding import generator
from sfpo_bench.experiments.comparison.arms import compose_arms
from sfpo_bench.experiments.plan import Phase, plan
from sfpo_bench.models.load import load, shape_of
from sfpo_bench.models.shapes import PUBLISHED, Shape, read_shape
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.training import Precision
from tests.conftest import Cli

RECIPES = {
    "qwen2.5-math-1.5b": (1536, 2560, 0.8, 1_543_714_304),
    "qwen2.5-math-7b": (1536, 2560, 0.8, 7_615_616_512),
    "deepseek-r1-distill-qwen-1.5b": (2048, 6144, 0.8, 1_777_088_000),
    "deepseek-r1-distill-qwen-7b": (2048, 6144, 0.8, 7_615_616_512),
    "qwen3-4b-base": (2048, 6144, 0.9, 4_022_468_096),
}


pytestmark = pytest.mark.usefixtures("hydra")


def composed(*overrides: str) -> RunConfig:
    return from_node(compose("train", list(overrides)))


@pytest.mark.parametrize("name", RECIPES)
def test_a_published_recipe_is_the_published_settings_and_has_a_plan(name: str) -> None:
    config = composed(f"experiment=paper/{name}")
    prompt, response, alpha, parameters = RECIPES[name]
    rollout, learner = config.rollouts, config.learner
    assert (rollout.kind, rollout.prompts, rollout.group, rollout.temperature) == ("vllm", 256, 8, 1.0)
    assert (rollout.max_prompt_tokens, rollout.max_new_tokens) == (prompt, response)
    assert (learner.learning_rate, learner.mini_batches, learner.gradient_clip_norm) == (1e-6, 4, 1.0)
    rule: Any = config.algorithm.update_rule
    assert (rule.fast_passes, rule.alpha, rule.trigger.window, rule.trigger.threshold) == (3, alpha, 30, 1.0)
    objective: Any = config.algorithm.objective
    assert (objective.clip_low, objective.clip_high, objective.kl_coefficient) == (0.2, 0.2, 0.0)
    assert objective.entropy_coefficient == 0.001 and config.training.steps == 400
    found = plan(config, shape_of(config.model))
    assert found.parameters == parameters
    assert found.checkpoint_bytes == 12 * parameters
    assert lines(found)


@pytest.mark.parametrize("name", RECIPES)
def test_every_arm_of_a_published_recipe_composes_and_differs_in_its_update_alone(name: str) -> None:
    overrides = [f"experiment=paper/{name}"]
    node = compose("compare", overrides)
    arms = {arm.key: from_node(arm.node) for arm in compose_arms(from_node(node), "compare", overrides)}
    assert set(arms) == {"grpo", "sfpo", "repeat"}
    assert len({str(config.algorithm.objective) for config in arms.values()}) == 1
    assert len({str(config.learner) for config in arms.values()}) == 1
    assert len({str(config.training) for config in arms.values()}) == 1


SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_parameters_are_those_of_the_model(kind: str, tied: bool, tmp_path: Path) -> None:
    model: PreTrainedModel
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=tied))
    elif kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SMALL, tie_word_embeddings=tied))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**SMALL, tie_word_embeddings=tied, head_dim=10))
    model.config.save_pretrained(tmp_path)
    assert read_shape(tmp_path / "config.json").parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-Math-1.5B", "Qwen/Qwen3-4B-Base"])
def test_a_published_shape_is_that_of_the_class_it_is_for(name: str) -> None:
    shape: Shape = PUBLISHED[name]
    numbers: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "tie_word_embeddings": shape.tied,
    }
    with torch.device("meta"):
        model: PreTrainedModel = (
            Qwen3ForCausalLM(Qwen3Config(**numbers, head_dim=shape.head_size))
            if shape.qk_norm
            else Qwen2ForCausalLM(Qwen2Config(**numbers))
        )
    assert sum(p.numel() for p in model.parameters()) == shape.parameters


def test_an_architecture_that_is_not_known_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(ConfigError, match="model_type is 'mamba'"):
        read_shape(tmp_path / "config.json")


SMOLLM2 = Shape(49152, 576, 1536, 30, 9, 3, 64, tied=True)


@pytest.mark.parametrize(("algorithm", "measured_kib"), [("grpo", 3_529_532), ("sfpo", 4_182_152)])
def test_the_memory_of_the_smollm2_experiment_is_within_a_fifth_of_what_was_measured(
    algorithm: str, measured_kib: int
) -> None:
    """Largest resident set of `sfpo-bench train experiment=smollm2_addition algorithm=… training.steps=2
    training.checkpoint_every=1`, on a CPU."""
    found = plan(composed("experiment=smollm2_addition", f"algorithm={algorithm}"), SMOLLM2, prompt_tokens=46)
    assert found.parameters == 134_515_008
    assert abs(found.peak_bytes / (measured_kib * 1024) - 1) <= 0.2


def test_the_peak_is_what_is_always_there_and_the_largest_phase_beside_it() -> None:
    found = plan(composed("experiment=smollm2_addition", "algorithm=sfpo"), SMOLLM2)
    held = {phase: sum(part.size_bytes for part in found.parts if part.phase is phase) for phase in Phase}
    assert found.peak_bytes == held[Phase.always] + max(held[phase] for phase in Phase if phase is not Phase.always)
    assert held[Phase.update] > held[Phase.step] > 0, "gradients in the masters' memory"
    without = plan(composed("experiment=smollm2_addition", "algorithm=grpo"), SMOLLM2)
    assert found.peak_bytes - without.peak_bytes == 4 * found.parameters, "SFPO's copy of the weights"


def test_the_plan_is_printed_and_nothing_is_started(tmp_path: Path, cli: Cli) -> None:
    done = cli("train", "--plan", "tracking=none")
    assert re.search(r"108,224 parameters; longest prompt \d tokens", done.stdout) and "one checkpoint" in done.stdout
    assert not (tmp_path / "results").exists()
    refused = cli("compare", "--plan", check=False)
    assert refused.returncode == 2 and "expected --plan after train or study" in refused.stderr


def test_on_more_devices_each_holds_less_but_never_less_than_all_weights_to_generate() -> None:
    found = plan(composed("experiment=smollm2_addition", "algorithm=sfpo"), SMOLLM2)
    held = [found.per_device_bytes(devices) for devices in (1, 8, 64, 1024)]
    assert held[0] == found.gpu_peak_bytes and held == sorted(held, reverse=True)
    weights = sum(part.size_bytes for part in found.parts if part.name.startswith("weights "))
    assert held[-1] > weights > 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_critic_costs_its_weights_gradients_and_optimizer_and_its_part_of_the_checkpoint(precision: str) -> None:
    base = ["experiment=smollm2_addition", f"learner.precision={precision}"]
    alone, beside = (plan(composed(*base, f"algorithm={name}"), SMOLLM2, 46) for name in ("reinforce_plus_plus", "ppo"))
    critic = SMOLLM2.parameters + SMOLLM2.hidden + 1  # the embedding is tied: there is no head to leave out
    held = {part.name: part.size_bytes for part in beside.parts if part not in alone.parts}
    always = 12 if precision == "float32" else 2 + 12 + 2
    assert held["critic: weights and moments"] == always * critic
    assert held.get("gradients of a module", 0) == (4 * critic if precision == "float32" else 0)
    assert beside.checkpoint_bytes - alone.checkpoint_bytes == 12 * critic
    assert beside.peak_bytes - alone.peak_bytes >= always * critic


def test_the_parameters_of_a_critic_are_those_of_its_model() -> None:
    config = composed("algorithm=ppo")
    shape, model = shape_of(config.model), load(config.model, Precision.float32, "cpu").model
    built = config.modules.build("critic", model, generator(0, "modules", "critic"))
    body = shape.parameters - (0 if shape.tied else shape.embedding)
    assert sum(p.numel() for p in built.parameters()) == config.modules.parameters("critic", body, shape.hidden)


def test_a_reference_that_moves_is_in_the_checkpoint_and_in_float32_beside_a_bfloat16_model() -> None:
    kl = ("algorithm.objective.kl_coefficient=0.1",)
    for precision, beside in (("float32", 0), ("bfloat16", 4)):
        fixed, moving = (
            plan(config, shape_of(config.model))
            for config in (
                composed(*kl, f"learner.precision={precision}", *more) for more in ((), ("algorithm/reference=soft",))
            )
        )
        held = [
            sum(part.size_bytes for part in one.parts if part.name.startswith("reference")) for one in (fixed, moving)
        ]
        assert held[1] - held[0] == beside * moving.parameters
        assert moving.checkpoint_bytes - fixed.checkpoint_bytes == 4 * moving.parameters


@pytest.mark.parametrize(("precision", "size"), [("float32", 4), ("bfloat16", 2)])
def test_stale_rollouts_hold_a_copy_of_the_trained_weights_a_step_and_one_to_sample_from(
    precision: str, size: int
) -> None:
    configs = [composed(f"rollout.stale_steps={steps}", f"learner.precision={precision}") for steps in (0, 8)]
    now, late = (plan(config, shape_of(config.model)) for config in configs)
    held = [sum(part.size_bytes for part in one.parts if "earlier steps" in part.name) for one in (now, late)]
    assert held == [0, 9 * size * late.parameters]
    assert late.checkpoint_bytes - now.checkpoint_bytes == 9 * size * late.parameters


def test_state_that_is_put_back_is_a_copy_of_it_and_gxpo_holds_three_of_the_weights() -> None:
    def copies(*overrides: str) -> float:
        found = plan(config := composed(*overrides), shape_of(config.model))
        [held] = [part.size_bytes for part in found.parts if part.name.startswith("copies of the weights")]
        return held / (4 * found.parameters)

    assert copies("algorithm=sfpo") == 1 and copies("algorithm=gxpo") == 3
    restored = "algorithm.update_rule.moments=restore"
    assert copies("algorithm=sfpo", restored) == 3, "the weights and two moments"
    assert copies("algorithm=sfpo", restored, "learner=sgd") == 1


def test_phases_need_the_most_of_what_their_steps_need() -> None:
    later = "{a: {last_step: 5}, b: {first_step: 6, objective: {kind: clipped, kl_coefficient: 0.1}}}"
    config = composed("algorithm/phases=in_order", f"+algorithm.phases.named={later}")
    held = {part.name for part in plan(config, shape_of(config.model)).parts}
    assert "reference weights for the KL term" in held
