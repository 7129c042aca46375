"""Displacements and angles of the weights, measured on a fixed sample of coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from sfpo_bench.algorithms.anchor import local
from sfpo_bench.training.ranks import ALONE, Ranks


class WeightProbe:
    """Reads up to about `coordinates` weights, evenly strided over all of them.

    A full second copy would be needed to measure a step exactly; the method itself is allowed only one. For models of
    at most `coordinates` weights the readings are exact; beyond, norms are scaled by sqrt(all / read), an estimate. Of
    sharded weights each rank reads its own; norms and cosines are those of all of them.
    """

    def __init__(self, weights: Iterable[Tensor], coordinates: int = 2**20, ranks: Ranks = ALONE) -> None:
        self._weights = [local(weight) for weight in weights]
        self._ranks = ranks
        [total] = ranks.sums([sum(weight.numel() for weight in self._weights)])
        self._stride = max(1, math.ceil(total / coordinates))
        [read] = ranks.sums([sum(math.ceil(weight.numel() / self._stride) for weight in self._weights)])
        self._scale = math.sqrt(total / read) if read else 1.0

    def read(self) -> Tensor:
        """The sampled weights as they are now, flat."""
        with torch.no_grad():
            # The same coordinates at every reading, so that differences are of like with like.
            return torch.cat([weight.reshape(-1)[:: self._stride] for weight in self._weights])

    def norm(self, difference: Tensor) -> float:
        """Euclidean norm of a difference of two readings, scaled to all weights."""
        # Squares add up over the ranks' shards; norms do not.
        [squares] = self._ranks.sums([float(difference.norm()) ** 2])
        return math.sqrt(squares) * self._scale

    def cosine(self, a: Tensor, b: Tensor) -> float | None:
        """Cosine of two differences, in fp64; None when either is zero."""
        a, b = a.double(), b.double()
        product, a_squares, b_squares = self._ranks.sums(
            [float(a @ b), float(a.square().sum()), float(b.square().sum())]
        )
        scale = math.sqrt(a_squares) * math.sqrt(b_squares)
        return product / scale if scale > 0 else None
