"""An engine without a model: it answers every problem by its noise alone, and counts what it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sfpo_bench.core.types import Completion, FinishReason, Sampling
from sfpo_bench.evaluation.generation import Generation
from sfpo_bench.evaluation.prompted_problems import PromptedProblem
from sfpo_bench.rollout.protocol import NoiseStream, Request


@dataclass
class Dice:
    """The response to a request is `write` of the sample's own key; `asked` lists every (problem, sample)."""

    write: Callable[[str, int], str] = lambda problem, key: f"So it is \\boxed{{{key % 7}}}."
    asked: list[tuple[str, int]] = field(default_factory=list)
    limit: int | None = None

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        found = []
        for request in requests:
            for sample in request.samples:
                if self.limit is not None and len(self.asked) >= self.limit:
                    raise KeyboardInterrupt  # as if the process were killed in the middle of a part
                self.asked.append((request.problem_id, sample))
                text = self.write(request.problem_id, noise.key(request.problem_id, sample))
                ids = tuple(range(min(len(text), sampling.max_new_tokens)))
                reason = FinishReason.truncated if len(text) > sampling.max_new_tokens else FinishReason.stopped
                found.append(
                    Completion(request.problem_id, sample, request.prompt_ids, ids, (0.0,) * len(ids), text, reason)
                )
        return found

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """There are none."""

    def free_memory(self) -> None:
        """Nothing to give back."""

    def metrics(self) -> Mapping[str, float]:
        return {}

    def started(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        """Nothing to let go of."""


def characters(prompted_problems: Sequence[PromptedProblem]) -> list[tuple[int, ...]]:
    """One token per character of the problem."""
    return [tuple(map(ord, prompted.problem.text)) for prompted in prompted_problems]


def generation(engine: Dice, *, batch_responses: int = 8, seed: int = 0, max_new_tokens: int = 1000) -> Generation:
    """A generation with this engine."""
    sampling = Sampling(1.0, max_new_tokens)
    return Generation(engine, characters, sampling, seed, batch_responses, max_prompt_tokens=1000)
