"""Checks that the engine computes with the trainer's weights, by comparing log-probs.

A weight sync that misses a weight raises no error; responses would silently come from another policy. The check draws a
few responses and compares the engine's log-probs of their tokens with the trainer's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfpo_bench.core.errors import EngineMismatch
from sfpo_bench.core.types import Completion

# Returns the trainer's log-probs of each completion's response tokens, at the rollout temperature.
Score = Callable[[Sequence[Completion]], list[list[float]]]

BOUNDS = {"float32": 1e-3, "bfloat16": 1.0}
# Halved weights round more coarsely (SmolLM2: up to 7e-4 in float32); a missed weight sync differs by nats.
SYNC_CHECK_BOUNDS = {"float32": 2e-2, "bfloat16": 1.0}


@dataclass(frozen=True, slots=True)
class Parity:
    """Absolute differences of log-probs over the tokens of some responses, in nats, and the bound on the largest."""

    largest: float
    mean: float
    tokens: int
    bound: float

    def require(self, when: str) -> None:
        """Raise `EngineMismatch` when the largest difference exceeds the bound or is NaN."""
        if not self.largest <= self.bound:
            raise EngineMismatch(
                f"{when}: the engine's log-probs differ from the trainer's by up to {self.largest:.3g} nats (mean "
                f"{self.mean:.3g} over {self.tokens} tokens), at most {self.bound:g} is accepted. The engine computes "
                "with other weights or another model: check model, revision, number format and "
                "versions (a server must have the trainer's). Only if the difference is rounding, raise "
                "rollout.parity_bound"
            )


def compare(completions: Sequence[Completion], score: Score, bound: float) -> Parity:
    """Compare the completions' log-probs with the trainer's."""
    scored = score(completions)
    differences = [
        abs(mine - theirs)
        for row, completion in zip(scored, completions, strict=True)
        for mine, theirs in zip(row, completion.log_probs, strict=True)
    ]
    # Python's max() ignores a NaN or returns it, depending on its position.
    largest = float(torch.tensor(differences).max())
    return Parity(largest, sum(differences) / len(differences), len(differences), bound)


class Halved:
    """Halves every weight matrix in place inside the block; exact, since halving and doubling are exact.

    The halved policy differs from the original in every layer and is less peaked, so a missed weight sync shows.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._matrices = [weight for weight in weights if weight.ndim >= 2]

    def __enter__(self) -> None:
        self._scale(0.5)

    def __exit__(self, *_: object) -> None:
        self._scale(2.0)

    def _scale(self, factor: float) -> None:
        with torch.no_grad():
            for weight in self._matrices:
                weight.mul_(factor)
