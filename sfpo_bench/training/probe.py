"""Displacements and angles of the weights, measured on a fixed sample of coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


class WeightProbe:
    """Reads up to about `coordinates` weights, evenly strided over all of them.

    A full second copy would be needed to measure a step exactly; the method itself is allowed only one. For models of
    at most `coordinates` weights the readings are exact; beyond, norms are scaled by sqrt(all / read), an estimate.
    """

    def __init__(self, weights: Iterable[Tensor], coordinates: int = 2**20) -> None:
        self._weights = list(weights)
        total = sum(weight.numel() for weight in self._weights)
        self._stride = max(1, math.ceil(total / coordinates))
        read = sum(math.ceil(weight.numel() / self._stride) for weight in self._weights)
        self._scale = math.sqrt(total / read) if read else 1.0

    def read(self) -> Tensor:
        """The sampled weights as they are now, flat."""
        with torch.no_grad():
            return torch.cat([weight.reshape(-1)[:: self._stride] for weight in self._weights])

    def norm(self, difference: Tensor) -> float:
        """Euclidean norm of a difference of two readings, scaled to all weights."""
        return float(difference.norm()) * self._scale


def cosine(a: Tensor, b: Tensor) -> float | None:
    """Cosine of two differences, in fp64; None when either is zero."""
    a, b = a.double(), b.double()
    scale = float(a.norm()) * float(b.norm())
    return float(a @ b) / scale if scale > 0 else None
