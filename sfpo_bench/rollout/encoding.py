"""Prompts to token ids; training and evaluation share this code, so a model sees the same tokens in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Problem, Prompt
from sfpo_bench.problems.protocol import Task
from sfpo_bench.rollout.known_characters import broken_characters, encode
from sfpo_bench.settings.rollout import OverLong

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class EncodedProblem:
    """A problem with the token ids of its prompt, and of its reference solution (with end token) if used."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    solution_ids: tuple[int, ...] = ()


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
    """The token ids of each prompt.

    Chat messages go through the model's template, which writes the special tokens itself, so the tokenizer adds none.
    Raw text gets the tokenizer's special tokens, unless it already starts with the BOS token.

    Raises `ConfigError` for prompts with characters that the tokenizer cannot represent: the model would read another
    text.
    """
    rendered = [_render(tokenizer, prompt) for prompt in prompts]
    _refuse_lost(prompts, [broken_characters(text) for text, _ in rendered])
    encoded: list[tuple[int, ...]] = [()] * len(prompts)
    lost: list[list[str]] = [[] for _ in prompts]
    for special in (False, True):
        chosen = [index for index, (_, own) in enumerate(rendered) if own is special]
        made = encode(tokenizer, [rendered[index][0] for index in chosen], add_special_tokens=special)
        for index, ids, characters in zip(chosen, made.ids, made.lost, strict=True):
            encoded[index], lost[index] = ids, characters
    _refuse_lost(prompts, lost)
    return encoded


def _refuse_lost(prompts: Sequence[Prompt], lost: Sequence[Sequence[str]]) -> None:
    bad = [(prompt.problem_id, characters) for prompt, characters in zip(prompts, lost, strict=True) if characters]
    if bad:
        first, characters = bad[0]
        raise ConfigError(
            f"{len(bad)} of {len(prompts)} prompts have characters that the model's tokenizer lacks (the first: "
            f"problem {first}, with {', '.join(map(ascii, characters))}); expected characters of its vocabulary, since "
            "without these the model would read another text. Write the problems or the prompt template otherwise, or "
            "take a model that knows them"
        )


def _render(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> tuple[str, bool]:
    """The prompt as text, and whether the tokenizer must add special tokens."""
    if isinstance(prompt.content, str):
        bos = tokenizer.bos_token
        return prompt.content, not (isinstance(bos, str) and prompt.content.startswith(bos))
    if not tokenizer.chat_template:
        raise ConfigError(
            "the prompts are chat messages, but the model's tokenizer has no chat template; use an instruction-tuned "
            "model, or plain prompts: task.chat=false where a task has it, else another template (evaluate prompt=NAME)"
        )
    turns = [{"role": message.role, "content": message.content} for message in prompt.content]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    return text, False


def encode_problems(
    tokenizer: PreTrainedTokenizerBase, task: Task, problems: Sequence[Problem], limit: int, over_long: OverLong
) -> list[EncodedProblem]:
    """The problems whose prompts fit into `limit` tokens, encoded.

    Raises `ConfigError` for an over-long prompt under `OverLong.refuse`, and when dropping leaves nothing.
    """
    if not problems:
        raise ConfigError("the task has no problem in a split that the run needs; expected at least one")
    encoded = encode_prompts(tokenizer, [task.prompt(problem) for problem in problems])
    kept = [EncodedProblem(p, ids) for p, ids in zip(problems, encoded, strict=True) if len(ids) <= limit]
    dropped = len(problems) - len(kept)
    if dropped and over_long is OverLong.refuse:
        longest = max(len(ids) for ids in encoded)
        raise ConfigError(
            f"{dropped} of {len(problems)} prompts are longer than rollout.max_prompt_tokens = {limit} (the longest "
            f"has {longest} tokens); raise the limit, or set rollout.over_long=drop to leave them out"
        )
    if not kept:
        raise ConfigError(
            f"none of {len(problems)} prompts fits into rollout.max_prompt_tokens = {limit}; raise the limit"
        )
    return kept


def end_of_sequence_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token id that ends a response: the generation config's, the model config's and the tokenizer's."""
    generation = model.generation_config
    found: set[int] = set()
    for value in (
        generation.eos_token_id if generation is not None else None,
        model.config.get_text_config().eos_token_id,
        tokenizer.eos_token_id,
    ):
        found.update([value] if isinstance(value, int) else (value or []))
    if not found:
        raise ConfigError(
            "the model has no end-of-sequence token, so every response would be truncated; "
            "set eos_token_id in its generation_config.json"
        )
    return frozenset(found)
