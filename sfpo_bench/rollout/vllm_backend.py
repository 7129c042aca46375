"""The protocol of a place where vLLM runs: this process, a child process, a server. Imports neither torch nor vLLM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sfpo_bench.core.errors import EngineFailed, NonFiniteError
from sfpo_bench.core.types import Sampling
from sfpo_bench.rollout.protocol import NOT_FINITE

if TYPE_CHECKING:
    from torch import Tensor


# An output head of its own for a model with tied embeddings, pushed like any other weight: a reload that is not given
# the head leaves it as it was, in silence.
UNTIED: Mapping[str, object] = {"tie_word_embeddings": False}


@dataclass(frozen=True, slots=True)
class Launch:
    """How vLLM is started. `overrides` replace entries of the model's config.json."""

    model: str
    revision: str
    dtype: str
    device: str
    max_model_tokens: int
    max_sequences: int
    kv_cache_bytes: int
    compile_model: bool
    sleep: bool
    overrides: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Draw:
    """One response to draw: its prompt, and the seed of its noise (63 bits)."""

    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came of a `Draw`: token ids with the end-of-sequence token if it stopped, and the log-prob each was drawn
    with. `cached_tokens` prompt tokens were found in the prefix cache."""

    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    cached_tokens: int


class Backend(Protocol):
    """A running vLLM. Every method raises `EngineFailed` when vLLM has died, does not answer in time or is out of
    memory."""

    def draw(self, draws: Sequence[Draw], sampling: Sampling, end_ids: Sequence[int]) -> list[Drawn]:
        """Responses in the order of `draws`."""
        ...

    def push(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights of these names, then forget every cached prefix."""
        ...

    def free_memory(self) -> None:
        """Give back memory until the next `push`."""
        ...

    def close(self) -> None:
        """End it; what was started is stopped."""
        ...


def checked(drawn: Drawn) -> Drawn:
    """`drawn`, unless its log-probs say that the weights have diverged."""
    if len(drawn.log_probs) != len(drawn.token_ids) or not drawn.token_ids:
        raise EngineFailed(
            f"vLLM returned {len(drawn.token_ids)} tokens with {len(drawn.log_probs)} log-probs; expected one each"
        )
    if not all(map(math.isfinite, drawn.log_probs)):
        raise NonFiniteError(NOT_FINITE)
    return drawn
