"""The protocol of a rollout engine: requests in, completions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sfpo_bench.core.seeding import stream_key
from sfpo_bench.core.types import Completion, Sampling

if TYPE_CHECKING:
    from torch import Tensor

# What an engine says of weights under which no token can be drawn.
NOT_FINITE = (
    "generation: the policy's logits are not finite, so its weights have diverged or are damaged; (in train) lower "
    "learner.learning_rate, or set learner.gradient_clip_norm above 0, and start the run afresh"
)


@dataclass(frozen=True, slots=True)
class Request:
    """`samples` responses to one encoded prompt; each sample number draws its own noise. The last `begun` tokens of
    `prompt_ids` are the first ones of every response: its text begins with theirs."""

    problem_id: str
    prompt_ids: tuple[int, ...]
    samples: tuple[int, ...]
    begun: int = 0

    def whole(self, rest: Sequence[int]) -> list[int]:
        """The tokens of a response that ends with `rest`."""
        return [*self.prompt_ids[len(self.prompt_ids) - self.begun :], *rest]


@dataclass(frozen=True, slots=True)
class NoiseStream:
    """Names the noise of one generation: `purpose` is `rollout` or an evaluation's name.

    The noise of a response is a function of (seed, purpose, step, problem, sample, position) and of nothing else.
    """

    seed: int
    purpose: str
    step: int

    def key(self, problem_id: str, sample: int) -> int:
        """The 64-bit key of one response's stream."""
        return stream_key(self.seed, self.purpose, self.step, problem_id, sample)


class RolloutEngine(Protocol):
    """Generates with the policy's present weights."""

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        """Completions in the order of the requests and, within a request, of its samples."""
        ...

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the learner's weights, by name; afterwards nothing is generated from older ones."""
        ...

    def free_memory(self) -> None:
        """Nothing is generated until the next `load`: give back the memory that can be given back."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Scalars of the engine since the last call, to record with the step just taken; may be empty."""
        ...

    def started(self) -> Mapping[str, float]:
        """What the start took and showed, for the run's journal; empty for an engine that starts at once."""
        ...

    def close(self) -> None:
        """Free processes and memory; the engine is not used again."""
        ...
