"""Sampling settings of evaluations, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.core.options import option
from sfpo_bench.core.types import Sampling


@dataclass
class SampleSettings:
    """The number of samples per problem and the sampling parameters; all but `samples` identify a sample."""

    samples: int = option(4, "samples per problem; a larger number keeps existing ones", low=1)
    temperature: float = option(1.0, "softmax temperature; 0 is greedy decoding, with one sample", low=0.0)
    top_p: float = option(1.0, "top-p (nucleus) sampling", above=0, high=1)
    max_new_tokens: int = option(2048, "token limit of a response, including the end-of-sequence token", low=1)
    seed: int = option(0, "seed of the sampling noise, from which each sample's seed is derived", low=0)

    def sampling(self) -> Sampling:
        """The sampling parameters of the engine."""
        return Sampling(self.temperature, self.max_new_tokens, self.top_p)
