"""How samples of an evaluation are drawn. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.core.options import option
from sfpo_bench.core.types import Sampling


@dataclass
class SampleSettings:
    """How many samples of each problem, and how they are drawn. All but `samples` is part of what a sample is."""

    samples: int = option(4, "samples of each problem; raising it keeps those that are there", low=1)
    temperature: float = option(1.0, "softmax temperature; 0 is greedy decoding, with one sample", low=0.0)
    top_p: float = option(1.0, "nucleus: the most probable tokens that together have this probability", above=0, high=1)
    max_new_tokens: int = option(2048, "token limit of a response, the end-of-sequence token included", low=1)
    seed: int = option(0, "seed of the sampling noise; each sample's own seed follows from it", low=0)

    def sampling(self) -> Sampling:
        """The sampling parameters of the engine."""
        return Sampling(self.temperature, self.max_new_tokens, self.top_p)
