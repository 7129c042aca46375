"""The protocol of a rollout engine: requests in, completions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sfpo_bench.core.seeding import stream_key
from sfpo_bench.core.types import Completion, Sampling

if TYPE_CHECKING:
    from torch import Tensor

# Error message for weights whose logits are not finite.
NOT_FINITE = (
    "generation: the policy's logits are not finite, so its weights have diverged or are damaged; (in train) lower "
    "learner.learning_rate, or set learner.gradient_clip_norm above 0, and start the run afresh"
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request for `samples` responses to one encoded prompt, each sample number with its own noise.

    The last `begun` tokens of `prompt_ids` are the start of every response and belong to its text.
    """

    problem_id: str
    prompt_ids: tuple[int, ...]
    samples: tuple[int, ...]
    begun: int = 0

    def whole(self, rest: Sequence[int]) -> list[int]:
        """The tokens of the whole response: the begun part and `rest`."""
        return [*self.prompt_ids[len(self.prompt_ids) - self.begun :], *rest]


@dataclass(frozen=True, slots=True)
class NoiseStream:
    """The name of one generation's noise; `purpose` is `rollout` or an evaluation's name.

    A response's noise is a function of (seed, purpose, step, problem, sample, position) only.
    """

    seed: int
    purpose: str
    step: int

    def key(self, problem_id: str, sample: int) -> int:
        """The 64-bit key of one response's noise."""
        return stream_key(self.seed, self.purpose, self.step, problem_id, sample)


class RolloutEngine(Protocol):
    """Generates responses with the policy's current weights."""

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        """Generate completions, in the order of the requests and, within a request, of its samples."""
        ...

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Load the learner's weights by name; later responses use no older ones."""
        ...

    def free_memory(self) -> None:
        """Free what memory can be freed; nothing is generated until the next `load`."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Metrics since the last call, for the record of the completed step; may be empty."""
        ...

    def started(self) -> Mapping[str, float]:
        """Timings and parity of the start, for the journal; empty for an engine without a start-up phase."""
        ...

    def close(self) -> None:
        """Stop processes and free memory; the engine cannot be used afterwards."""
        ...
