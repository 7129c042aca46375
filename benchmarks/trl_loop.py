"""The steps of TRL's GRPOTrainer, watched from outside: when each begins, when it samples, when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Watch(Protocol):
    """What is told of each step."""

    def begin(self) -> object: ...

    def sampling(self) -> AbstractContextManager[object]: ...

    def end(self) -> object: ...


def rewards(count: int) -> list[float]:
    """Half of every group is right."""
    return [float(number % 2) for number in range(count)]


def fixed_lengths(tokens: int, group: int, learning_rate: float) -> dict[str, Any]:
    """Settings of GRPOConfig for groups of responses of exactly `tokens` tokens, with nothing saved or reported."""
    return {
        "num_generations": group,
        "max_completion_length": tokens,
        "generation_kwargs": {"min_new_tokens": tokens},
        "learning_rate": learning_rate,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def train(
    model: str | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[object],
    settings: Mapping[str, Any],
    watch: Watch,
) -> None:
    """Train `model`, or the model in that folder, on `prompts` with `settings` of GRPOConfig."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Steps(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            watch.begin()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            watch.end()

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return rewards(len(completions))

    with TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig(output_dir=folder, **settings),
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
            processing_class=tokenizer,
            callbacks=[Steps()],
        )
        trainer._generate = _watched(trainer._generate, watch)
        trainer.train()


def _watched(sample: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        with watch.sampling():
            return sample(*args, **kwargs)

    return watched
