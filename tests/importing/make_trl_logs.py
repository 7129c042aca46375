"""Makes the logs of `tests/importing/trl/`: GRPO and SFPO in TRL's GRPOTrainer on a tiny model, two seeds each.

    .venv-trl/bin/python -m tests.importing.make_trl_logs       TRL's environment: `make test-trl` makes it

A response earns 1 when it begins with one of the letters a to f. Held-out prompts are evaluated with the same reward.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset

from sfpo_bench.integrations.trl import SlowFastCallback
from tests.integrations.test_trl import tokenizer
from tests.training.policies import policy

FOLDER = Path(__file__).parent / "trl"
PROMPTS = [a + b for a, b in itertools.product("abcdefgh", "efgh")]
RESPONSES_A_BATCH, BATCHES, FAST_PASSES = 32, 30, 2


def correct(completions: list[str], **_: Any) -> list[float]:
    """1 for a response that begins with one of the letters a to f."""
    return [float(completion[:1] in set("abcdef")) for completion in completions]


def train(arm: str, seed: int, out: Path) -> None:
    passes = 1 if arm == "grpo" else FAST_PASSES + 1
    with tempfile.TemporaryDirectory() as scratch:
        trainer = trl.GRPOTrainer(
            model=policy(seed=0, dtype=torch.float32),
            reward_funcs=correct,
            args=trl.GRPOConfig(
                output_dir=scratch,
                per_device_train_batch_size=RESPONSES_A_BATCH,
                per_device_eval_batch_size=RESPONSES_A_BATCH,
                num_generations=8,
                max_completion_length=4,
                learning_rate=4e-3,
                beta=0.0,
                lr_scheduler_type="constant",
                report_to="none",
                save_strategy="no",
                logging_steps=2 * passes,
                eval_strategy="steps",
                eval_steps=5 * passes,
                eval_on_start=True,
                max_steps=BATCHES * passes,
                seed=seed,
                bf16=False,
                use_cpu=True,
                disable_tqdm=True,
                gradient_checkpointing=False,
            ),
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS[:24]]),
            eval_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS[24:]]),
            processing_class=tokenizer(),
        )
        if arm == "sfpo":
            trainer.add_callback(SlowFastCallback(trainer, fast_passes=FAST_PASSES, alpha=0.8))
        trainer.train()
        trainer.state.save_to_json(str(out))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for arm, seed in itertools.product(("grpo", "sfpo"), (0, 1)):
        train(arm, seed, FOLDER / f"{arm}-seed{seed}.json")
