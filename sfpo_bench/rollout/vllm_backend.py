"""The interface to vLLM in this process, a child process or a server. Imports neither torch nor vLLM."""

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


# Gives a model with tied embeddings a separate LM head, synced like any other weight. A reload without the head would
# silently leave the old one in place.
UNTIED: Mapping[str, object] = {"tie_word_embeddings": False}


@dataclass(frozen=True, slots=True)
class Launch:
    """Arguments for starting vLLM. `overrides` replace entries of the model's config.json."""

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
    """A request for one response: its prompt and its 63-bit seed."""

    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """The result of a `Draw`: token ids, with the end-of-sequence token if it stopped, and their log-probs when
    sampled.

    `cached_tokens` prompt tokens came from the prefix cache.
    """

    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    cached_tokens: int


class Backend(Protocol):
    """A running vLLM. Every method raises `EngineFailed` when vLLM crashes, times out or runs out of memory."""

    def draw(self, draws: Sequence[Draw], sampling: Sampling, end_ids: Sequence[int]) -> list[Drawn]:
        """Return responses in the order of `draws`."""
        ...

    def push(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights of these names, then reset the prefix cache."""
        ...

    def free_memory(self) -> None:
        """Free memory until the next `push`."""
        ...

    def close(self) -> None:
        """Shut down, with all processes it started."""
        ...


def checked(drawn: Drawn) -> Drawn:
    """Return `drawn`; raise an error for missing or non-finite log-probs."""
    if len(drawn.log_probs) != len(drawn.token_ids) or not drawn.token_ids:
        raise EngineFailed(
            f"vLLM returned {len(drawn.token_ids)} tokens with {len(drawn.log_probs)} log-probs; expected one each"
        )
    if not all(map(math.isfinite, drawn.log_probs)):
        raise NonFiniteError(NOT_FINITE)
    return drawn
