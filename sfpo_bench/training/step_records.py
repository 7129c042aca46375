"""Sums of gradients or updates over optimizer steps, for reposition rules that need them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sfpo_bench.algorithms.anchor import local
from sfpo_bench.algorithms.recorded import Recorded, StepQuantity


class StepRecords:
    """Sums over optimizer steps by record and weight, of this rank's shards.

    They are stored beside the weights, or in CPU memory (`on_host`).
    """

    def __init__(self, *, on_host: bool = False) -> None:
        self._on_host = on_host
        self._open: str | None = None
        self._quantity = StepQuantity.clipped_gradient
        self._sums: dict[str, dict[str, Tensor]] = {}

    @contextmanager
    def under(self, name: str, quantity: StepQuantity) -> Iterator[None]:
        """Inside the block, sum the steps' `quantity` in the record `name`, which starts empty."""
        self._sums[name], self._open, self._quantity = {}, name, quantity
        try:
            yield
        finally:
            self._open = None

    @property
    def compares_weights(self) -> bool:
        """True while updates are recorded, which compares the weights before and after each step (`of_step`)."""
        return self._open is not None and self._quantity is StepQuantity.optimizer_step

    @contextmanager
    def of_step(self, weight: str, master: Tensor, group: Mapping[str, Any], clip_factor: float) -> Iterator[None]:
        """Record the optimizer step that moves `master` inside the block, if a record is open.

        Clipping has multiplied the gradient by `clip_factor`; `group` is the parameter group.
        """
        if not self.compares_weights:
            self.add_gradient(weight, master.grad, clip_factor)
            yield
            return
        moved = local(master).detach().clone()
        yield
        with torch.no_grad():
            # Subtract before dividing: the difference of nearly equal weights is exact, that of quotients is not.
            moved.mul_(1 - group["lr"] * group["weight_decay"]).sub_(local(master)).div_(group["lr"])
        self._add(weight, moved)

    @torch.no_grad()
    def add_gradient(self, weight: str, gradient: Tensor | None, clip_factor: float) -> None:
        """Add the gradient of the coming step, if a record of gradients is open."""
        if self._open is None or gradient is None:
            return
        raw = self._quantity is StepQuantity.raw_gradient and clip_factor != 1
        self._add(weight, local(gradient) / clip_factor if raw else local(gradient))

    @torch.no_grad()
    def _add(self, weight: str, part: Tensor) -> None:
        assert self._open is not None
        sums = self._sums[self._open]
        if weight in sums:
            sums[weight] += part.to(sums[weight].device)
        else:
            sums[weight] = part.to("cpu" if self._on_host else part.device, copy=True)

    def squares(self) -> list[float]:
        """The sums of squares, one per record and weight, in order."""
        return [
            float(torch.linalg.vector_norm(total, dtype=torch.float64)) ** 2
            for sums in self._sums.values()
            for total in sums.values()
        ]

    def recorded(
        self, elements: Mapping[str, int], squares: Sequence[float]
    ) -> Callable[[str, torch.device], Recorded]:
        """A function from a weight's name to its records and their RMS.

        `squares` are summed over all ranks, `elements` are the sizes of the unsharded weights. A weight without steps
        has no records.
        """
        places = [(name, weight) for name, sums in self._sums.items() for weight in sums]
        rms = {place: math.sqrt(total / elements[place[1]]) for place, total in zip(places, squares, strict=True)}

        def of(weight: str, device: torch.device) -> Recorded:
            return Recorded(
                {name: sums[weight].to(device) for name, sums in self._sums.items() if weight in sums},
                {name: rms[name, weight] for name, sums in self._sums.items() if weight in sums},
            )

        return of

    def drop(self) -> None:
        """Free the records."""
        self._sums = {}
