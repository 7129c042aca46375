"""TRL's GRPOTrainer runs SFPO: its weights, how often it generates, what it sees, and what it refuses."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import PreTrainedTokenizerFast, TrainerCallback

from sfpo_bench import SlowFastOptimizer
from sfpo_bench.algorithms.triggers import EntropyZScore, FixedStep
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.models.smollm2 import default_cache, locate
from tests.training.policies import VOCABULARY, policy

trl = pytest.importorskip("trl", reason="TRL lives in an environment of its own: make test-trl")
from datasets import Dataset  # noqa: E402

from sfpo_bench.integrations.trl import SlowFastCallback  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
LETTERS = "abcdefghijklmnopqrstuv"[: VOCABULARY - 2]
PROMPTS = [a + b for a, b in itertools.product("abcd", "efgh")]


def tokenizer() -> PreTrainedTokenizerFast:
    names = ["<pad>", "<eos>", *LETTERS]
    backend = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")


class Seen:
    """A reward function that keeps the prompts of every generation."""

    __name__ = "seen"

    def __init__(self) -> None:
        self.prompts: list[tuple[str, ...]] = []

    def __call__(self, prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        self.prompts.append(tuple(prompts))
        return [float(completion.count("a") - completion.count("b")) for completion in completions]


def grpo(folder: Path, reward: Seen, **settings: Any) -> Any:
    model = policy(dtype=torch.float32)
    return trl.GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=trl.GRPOConfig(
            **{
                "output_dir": str(folder),
                "per_device_train_batch_size": 8,
                "num_generations": 4,
                "max_completion_length": 6,
                "learning_rate": 5e-3,
                "beta": 0.0,
                "lr_scheduler_type": "constant",
                "report_to": "none",
                "save_strategy": "no",
                "logging_steps": 3,
                "bf16": False,
                "use_cpu": True,
                "disable_tqdm": True,
                "gradient_checkpointing": False,
                **settings,
            }
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
        processing_class=tokenizer(),
    )


def weights(trainer: Any) -> list[Tensor]:
    return [p.detach().clone() for p in trainer.model.parameters()]


def same_bits(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(left, right) for left, right in zip(a, b, strict=True))


LAYOUTS: list[dict[str, int]] = [
    {},
    {"gradient_accumulation_steps": 2},
    {"steps_per_generation": 4, "gradient_accumulation_steps": 2},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_alpha_one_is_trl_with_k_plus_one_iterations_bit_for_bit(layout: dict[str, int], tmp_path: Path) -> None:
    plain_saw, saw = Seen(), Seen()
    plain = grpo(tmp_path, plain_saw, num_iterations=3, max_steps=12, **layout)
    plain.train()
    trainer = grpo(tmp_path, saw, max_steps=12, **layout)
    trainer.add_callback(SlowFastCallback(trainer, fast_passes=2, alpha=1.0))
    trainer.train()
    assert saw.prompts == plain_saw.prompts
    assert same_bits(weights(trainer), weights(plain))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_weights_are_slow_fast_on_the_gradients_of_the_run(layout: dict[str, int], tmp_path: Path) -> None:
    fast, alpha = 2, 0.6
    steps_per_pass = layout.get("steps_per_generation", 1) // layout.get("gradient_accumulation_steps", 1) or 1
    gradients: list[list[Tensor]] = []
    trainer = grpo(tmp_path, Seen(), max_steps=12, **layout)
    trainer.add_callback(SlowFastCallback(trainer, fast_passes=fast, alpha=alpha))
    replayed = [p.requires_grad_() for p in weights(trainer)]

    def keep(optimizer: Optimizer, *_: Any) -> None:
        if isinstance(optimizer, torch.optim.AdamW):
            gradients.append([p.grad.clone() for p in trainer.model.parameters()])

    handle = register_optimizer_step_pre_hook(keep)
    trainer.train()
    handle.remove()
    inner = torch.optim.AdamW(replayed, lr=5e-3, weight_decay=0.0)
    anchor = [p.detach().clone() for p in replayed]
    for step, found in enumerate(gradients):
        place = step % ((fast + 1) * steps_per_pass)
        if place == 0:
            anchor = [p.detach().clone() for p in replayed]
        for parameter, gradient in zip(replayed, found, strict=True):
            parameter.grad = gradient
        inner.step()
        if place == fast * steps_per_pass - 1:
            with torch.no_grad():
                for parameter, start in zip(replayed, anchor, strict=True):
                    torch.lerp(start, parameter, alpha, out=parameter)
    assert len(gradients) == 12
    for expected, weight in zip(replayed, weights(trainer), strict=True):
        assert torch.allclose(expected, weight, rtol=1e-6, atol=1e-7)  # fused and plain AdamW round differently


class StepsPerGeneration(TrainerCallback):
    """How many optimizer steps were taken on each generation."""

    def __init__(self, seen: Seen) -> None:
        self.seen, self.steps = seen, [0] * 99

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.steps[len(self.seen.prompts) - 1] += 1


@pytest.mark.parametrize("layout", LAYOUTS[:2], ids=str)
def test_after_the_trigger_each_batch_is_one_pass_and_prompts_go_on_in_trls_order(
    layout: dict[str, int], tmp_path: Path
) -> None:
    saw, plain_saw = Seen(), Seen()
    trainer = grpo(tmp_path, saw, max_steps=8, **layout)
    callback = SlowFastCallback(trainer, fast_passes=1, trigger=FixedStep(last_step=2))
    counter = StepsPerGeneration(saw)
    trainer.add_callback(callback)
    trainer.add_callback(counter)
    trainer.train()
    assert counter.steps[:7] == [2, 2, 1, 1, 1, 1, 0]
    assert trainer.num_iterations == 1
    plain = grpo(tmp_path, plain_saw, max_steps=6, **layout)
    plain.train()
    assert saw.prompts == plain_saw.prompts


def test_the_trigger_sees_the_entropy_of_each_batchs_first_pass(tmp_path: Path) -> None:
    class Watching(EntropyZScore):
        def observe(self, step: int, entropy: float) -> bool:
            observed.append((step, entropy))
            return super().observe(step, entropy)

    observed: list[tuple[int, float]] = []
    trainer = grpo(tmp_path, Seen(), max_steps=6, logging_steps=1, gradient_accumulation_steps=2)
    trainer.add_callback(SlowFastCallback(trainer, fast_passes=1, trigger=Watching(window=30)))
    trainer.train()
    logged = [entry["entropy"] for entry in trainer.state.log_history if "entropy" in entry]
    assert [step for step, _ in observed] == [1, 2, 3]
    assert [entropy for _, entropy in observed] == pytest.approx([logged[0], logged[2], logged[4]])


def test_a_run_goes_on_from_a_checkpoint_between_batches_with_its_trigger(tmp_path: Path) -> None:
    def run(**resume: Any) -> Any:
        trainer = grpo(tmp_path, Seen(), max_steps=8, save_strategy="steps", save_steps=4)
        trainer.add_callback(SlowFastCallback(trainer, fast_passes=1, trigger=FixedStep(last_step=2)))
        trainer.train(**resume)
        return trainer

    run()
    resumed = run(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert resumed.state.global_step == 8 and resumed.num_iterations == 1


@pytest.mark.parametrize(
    ("layout", "settings", "message"),
    [
        ({"num_iterations": 2}, {}, "expected K \\+ 1 = 4"),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 3}, {}, "not a multiple of gradient_accumulation"),
        ({"dataloader_num_workers": 1}, {"trigger": FixedStep()}, "set it to 0, or use no trigger"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(
    layout: dict[str, int], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    trainer = grpo(tmp_path, Seen(), **layout)
    with pytest.raises(ValueError, match=message):
        SlowFastCallback(trainer, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": 10}, "max_steps = 10 optimizer steps would fall in the middle of a batch"),
        ({"max_steps": 8, "save_strategy": "steps", "save_steps": 2}, "save_steps = 2"),
    ],
)
def test_steps_in_the_middle_of_a_batch_are_refused_before_anything_is_generated(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    saw = Seen()
    trainer = grpo(tmp_path, saw, **settings)
    trainer.add_callback(SlowFastCallback(trainer, fast_passes=3))
    with pytest.raises(ValueError, match=message):
        trainer.train()
    assert not saw.prompts


def test_a_second_call_of_train_uses_the_same_optimizer(tmp_path: Path) -> None:
    trainer = grpo(tmp_path, Seen(), max_steps=4)
    callback = SlowFastCallback(trainer, fast_passes=1)
    trainer.add_callback(callback)
    trainer.train()
    first = callback.optimizer
    trainer.train()
    assert isinstance(first, SlowFastOptimizer) and callback.optimizer is first


@pytest.mark.slow
def test_smollm2_learns_addition_with_the_example_of_the_page(tmp_path: Path) -> None:
    try:
        model = locate(default_cache())
    except MissingDataError as error:
        pytest.skip(str(error))
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "trl" in block]
    names: dict[str, Any] = {"MODEL": str(model), "FOLDER": str(tmp_path)}
    exec(example, names)
    rewards = [entry["reward"] for entry in names["trainer"].state.log_history if "reward" in entry]
    print("mean reward of each batch:", [round(reward, 3) for reward in rewards])
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.2
