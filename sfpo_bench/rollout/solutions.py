"""Reference solutions to token ids, in the form of a model's response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Problem
from sfpo_bench.rollout.encoding import EncodedProblem, end_of_sequence_ids
from sfpo_bench.rollout.known_characters import broken_characters, encode
from sfpo_bench.settings.rollout import OverLong

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def require_solutions(problems: Sequence[Problem], task: str) -> None:
    """Raise `ConfigError` unless every problem has a reference solution."""
    lacking = [problem.id for problem in problems if not (problem.solution or "").strip()]
    if lacking:
        raise ConfigError(
            f"{len(lacking)} of {len(problems)} training problems of {task} have no reference solution, on which "
            f"the collector trains (the first: {lacking[0]}); expected one of each. Use a task whose problems have "
            "them (arithmetic has; in a file they are the field `solution` of a line), or algorithm/collector=group"
        )


def with_solutions(
    encoded: Sequence[EncodedProblem],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    over_long: OverLong,
) -> list[EncodedProblem]:
    """The problems with the token ids of their solutions, each followed by the end-of-sequence token.

    Raises `ConfigError` for characters that the tokenizer cannot represent, for a solution of more than `limit` tokens
    under `OverLong.refuse`, and when dropping leaves nothing.
    """
    texts = [one.problem.solution or "" for one in encoded]
    made = encode(tokenizer, texts, add_special_tokens=False)
    _refuse_lost(encoded, [broken_characters(text) or lost for text, lost in zip(texts, made.lost, strict=True)])
    end = _end_id(model, tokenizer)
    found = [replace(one, solution_ids=(*ids, end)) for one, ids in zip(encoded, made.ids, strict=True)]
    kept = [one for one in found if len(one.solution_ids) <= limit]
    if len(kept) < len(found) and (over_long is OverLong.refuse or not kept):
        longest = max(len(one.solution_ids) for one in found)
        raise ConfigError(
            f"{len(found) - len(kept)} of {len(found)} reference solutions are longer than rollout.max_new_tokens = "
            f"{limit} (the longest has {longest} tokens, its end included); raise the limit, or set "
            "rollout.over_long=drop to leave those problems out"
        )
    return kept


def _refuse_lost(encoded: Sequence[EncodedProblem], lost: Sequence[Sequence[str]]) -> None:
    bad = [(one.problem.id, characters) for one, characters in zip(encoded, lost, strict=True) if characters]
    if bad:
        first, characters = bad[0]
        raise ConfigError(
            f"{len(bad)} of {len(encoded)} reference solutions have characters that the model's tokenizer lacks (the "
            f"first: problem {first}, with {', '.join(map(ascii, characters))}); expected characters of its "
            "vocabulary. Write the solutions otherwise, take a model that knows them, or algorithm/collector=group"
        )


def _end_id(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a response: the tokenizer's EOS where the model accepts it as an end."""
    ends = end_of_sequence_ids(model, tokenizer)
    return tokenizer.eos_token_id if tokenizer.eos_token_id in ends else min(ends)
