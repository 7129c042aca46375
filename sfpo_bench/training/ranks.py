"""The ranks that train one run together: the interface, and its one-process case without communication.

Every rank has the step's whole batch: each rank generates and grades a share of the prompts, and the results, which are
small, are gathered on all. Rewards, advantages and denominators are therefore equal on all ranks. Only what a rank
computes with the weights must be all-reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

Item = TypeVar("Item")


class PlacedModel(Protocol):
    """A model on one device, or sharded over the devices of all ranks."""

    @property
    def device(self) -> torch.device:
        """The device of this rank."""
        ...

    def run(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Run `work`, which computes with the model, and return its result; every rank must call this equally often."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """The current unsharded weights by name, in the model's precision.

        Every rank must read the same names in the same order.
        """
        ...

    def owned(self) -> Sequence[Tensor]:
        """This rank's parameters or shards, for an in-place change that all ranks make."""
        ...

    def gather(self) -> None:
        """Gather all weights on every rank until `release`."""
        ...

    def release(self) -> None:
        """Reshard the weights."""
        ...


class WholeModel:
    """An unsharded model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    @property
    def device(self) -> torch.device:
        return self._model.device

    def run(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        return work()

    def weights(self) -> Mapping[str, Tensor]:
        return dict(self._model.named_parameters())

    def owned(self) -> Sequence[Tensor]:
        return list(self._model.parameters())

    def gather(self) -> None:
        """Do nothing: the weights are whole."""

    def release(self) -> None:
        """Do nothing: the weights stay whole."""


class Ranks:
    """The only rank of a run in one process. `training.process_group` implements several ranks."""

    rank = 0
    count = 1

    @property
    def is_first(self) -> bool:
        """True on rank 0, the only one that writes journal, samples, status and tracking."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This rank's consecutive items; the sizes of the shares differ by at most one and may be 0."""
        return items[len(items) * self.rank // self.count : len(items) * (self.rank + 1) // self.count]

    def device(self, name: str) -> str:
        """The device of this rank; `name` is the configured one, with `auto` resolved: cpu, cuda or cuda:N."""
        return name

    def place(self, model: PreTrainedModel) -> PlacedModel:
        """The model placed for training: whole, or sharded over ranks."""
        return WholeModel(model)

    def gather(self, items: Sequence[Item]) -> list[Item]:
        """The items of all ranks, in rank order."""
        return list(items)

    def first(self, item: Item) -> Item:
        """The item of rank 0."""
        return item

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sums over ranks, bit-equal on all of them."""
        return list(values)

    def largest(self, value: float) -> float:
        """The maximum over ranks; NaN when any value is NaN."""
        return value

    def add(self, tensor: Tensor) -> None:
        """All-reduce the tensor in place by summation."""

    def wait(self) -> None:
        """Wait until all ranks have called this."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise a `BenchError` of one rank on all ranks at the end of the block. The block must not communicate."""
        yield


ALONE = Ranks()


def with_dummies(micro_batches: Sequence[Item], dummy: Callable[[], Item], ranks: Ranks) -> Iterator[tuple[Item, bool]]:
    """This rank's micro-batches, each with True, then dummies with False up to the largest number on any rank.

    Every forward and backward pass gathers sharded weights, which needs all ranks.
    """
    missing = int(ranks.largest(len(micro_batches))) - len(micro_batches)  # collective, so before the first yield
    for micro in micro_batches:
        yield micro, True
    for _ in range(missing):
        yield dummy(), False


def sharded_like(tensor: Tensor, part: Tensor) -> Tensor:
    """`part` as this rank's shard of a tensor sharded like `tensor`; `part` itself where `tensor` is not sharded."""
    if not isinstance(tensor, DTensor):
        return part
    return DTensor.from_local(
        part, tensor.device_mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )
