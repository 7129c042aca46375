"""Gradients of optimizer steps, kept for a while beside the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sfpo_bench.algorithms.anchor import local
from sfpo_bench.algorithms.protocols import Recorded


class GradientRecords:
    """Sums of gradients by record and weight, of sharded weights this rank's part; beside the weights, or in the host's
    memory (`on_host`)."""

    def __init__(self, *, on_host: bool = False) -> None:
        self._on_host = on_host
        self._open: str | None = None
        self._sums: dict[str, dict[str, Tensor]] = {}

    @contextmanager
    def under(self, name: str) -> Iterator[None]:
        """Inside, what is added goes to the record `name`, which begins empty."""
        self._sums[name], self._open = {}, name
        try:
            yield
        finally:
            self._open = None

    @torch.no_grad()
    def add(self, weight: str, gradient: Tensor | None) -> None:
        """Add a gradient that a step is about to use up, if a record is open."""
        if self._open is None or gradient is None:
            return
        sums, here = self._sums[self._open], local(gradient)
        if weight in sums:
            sums[weight] += here.to(sums[weight].device)
        else:
            sums[weight] = here.to("cpu" if self._on_host else here.device, copy=True)

    def squares(self) -> list[float]:
        """The sum of squares of every record's weights, in their order."""
        return [
            float(torch.linalg.vector_norm(gradient, dtype=torch.float64)) ** 2
            for sums in self._sums.values()
            for gradient in sums.values()
        ]

    def recorded(
        self, elements: Mapping[str, int], squares: Sequence[float]
    ) -> Callable[[str, torch.device], Recorded]:
        """What is known of a weight, by its name; `squares` are those of all ranks, `elements` the sizes of whole
        weights. A weight that no step has moved has gradients of zero."""
        places = [(name, weight) for name, sums in self._sums.items() for weight in sums]
        rms = {place: math.sqrt(total / elements[place[1]]) for place, total in zip(places, squares, strict=True)}

        def of(weight: str, device: torch.device) -> Recorded:
            return Recorded(
                {name: sums[weight].to(device) for name, sums in self._sums.items() if weight in sums},
                {name: rms[name, weight] for name, sums in self._sums.items() if weight in sums},
            )

        return of

    def drop(self) -> None:
        """Give the memory back."""
        self._sums = {}
