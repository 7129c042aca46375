"""Update norms and angles of the weights, measured on a fixed sample of coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from sfpo_bench.algorithms.anchor import local
from sfpo_bench.training.ranks import ALONE, Ranks


class WeightProbe:
    """Reads about `coordinates` weights, evenly strided over all weights.

    Measuring exactly would need a second full copy, and the method itself is allowed only one. Readings are exact for
    models of at most `coordinates` weights; for larger ones norms are estimates, scaled by sqrt(all / read). Each rank
    reads its own shards; norms and cosines cover all ranks.
    """

    def __init__(self, weights: Iterable[Tensor], coordinates: int = 2**20, ranks: Ranks = ALONE) -> None:
        self._weights = [local(weight) for weight in weights]
        self._ranks = ranks
        [total] = ranks.sums([sum(weight.numel() for weight in self._weights)])
        self._stride = max(1, math.ceil(total / coordinates))
        [read] = ranks.sums([sum(math.ceil(weight.numel() / self._stride) for weight in self._weights)])
        self._scale = math.sqrt(total / read) if read else 1.0

    def read(self) -> Tensor:
        """The sampled weights, flat."""
        with torch.no_grad():
            # The same coordinates at every reading, so that readings can be subtracted.
            return torch.cat([weight.reshape(-1)[:: self._stride] for weight in self._weights])

    def norm(self, difference: Tensor) -> float:
        """The Euclidean norm of a difference of two readings, scaled to all weights."""
        # Squares add up over the ranks' shards; norms do not.
        [squares] = self._ranks.sums([float(difference.norm()) ** 2])
        return math.sqrt(squares) * self._scale

    def cosine(self, a: Tensor, b: Tensor) -> float | None:
        """The cosine of two differences, computed in fp64; None when either is zero."""
        a, b = a.double(), b.double()
        product, a_squares, b_squares = self._ranks.sums(
            torch.stack([a @ b, a.square().sum(), b.square().sum()]).tolist()
        )
        scale = math.sqrt(a_squares) * math.sqrt(b_squares)
        return product / scale if scale > 0 else None
