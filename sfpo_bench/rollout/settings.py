"""Settings of rollouts. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.options import option
from sfpo_bench.rollout.protocol import Sampling


class OverLong(StrEnum):
    """What to do with a prompt over the token limit; it is never cut."""

    refuse = "refuse"
    drop = "drop"


@dataclass
class TransformersRollout:
    """Rollouts by transformers in the training process."""

    kind: str = option("transformers", "name of the rollout engine")
    prompts: int = option(32, "prompts of a training step", low=1)
    group: int = option(8, "responses to each prompt, the group of the advantages", low=1)
    temperature: float = option(
        1.0, "softmax temperature of rollouts; log-probs and ratios are taken at it too", above=0.0
    )
    max_new_tokens: int = option(512, "token limit of a response, the end-of-sequence token included", low=1)
    max_prompt_tokens: int = option(1024, "token limit of a prompt", low=1)
    over_long: OverLong = option(OverLong.refuse, "prompts over the limit: refuse to start, or drop those problems")
    batch_responses: int = option(256, "responses decoded side by side; bounds memory, never changes the noise", low=1)

    def sampling(self) -> Sampling:
        """How the responses are drawn."""
        return Sampling(self.temperature, self.max_new_tokens)
