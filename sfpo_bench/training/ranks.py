"""The processes that train one run together. One of them is the ordinary case, and talks to nobody.

Every rank knows the step's whole batch: prompts, responses and grades are small, so each rank generates and grades its
share and then all have everything. Rewards, advantages and denominators are therefore the same numbers everywhere;
what remains to be added up is what a rank computes with the weights.
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
    """A model on its device, or spread over those of all ranks."""

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        ...

    def run(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What `work` computes with the model; every rank must call this equally often."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """The present weights by name, whole, as the model computes with them. With several ranks each of them must
        read the same names in the same order."""
        ...

    def owned(self) -> Sequence[Tensor]:
        """The parameters, or this rank's parts of them, for a change in place that all ranks make alike."""
        ...

    def gather(self) -> None:
        """Every rank holds all weights until `release`, as they are now."""
        ...

    def release(self) -> None:
        """Every rank holds its share again."""
        ...


class WholeModel:
    """A model that is all here."""

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
        """All weights are here."""

    def release(self) -> None:
        """They stay."""


class Ranks:
    """The only process of a run. `training.process_group` has the other kind."""

    rank = 0
    count = 1

    @property
    def is_first(self) -> bool:
        """True in the one process that writes: journal, samples, status, tracking."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This rank's run of consecutive items; the shares differ by at most one and may be empty."""
        return items[len(items) * self.rank // self.count : len(items) * (self.rank + 1) // self.count]

    def device(self, name: str) -> str:
        """The device of this rank, where `name` is what the settings come to on this machine: cpu, cuda or cuda:N."""
        return name

    def place(self, model: PreTrainedModel) -> PlacedModel:
        """The model where it is trained."""
        return WholeModel(model)

    def gather(self, items: Sequence[Item]) -> list[Item]:
        """The items of all ranks in the order of ranks."""
        return list(items)

    def first(self, item: Item) -> Item:
        """What rank 0 holds."""
        return item

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sums over ranks, equal to the last bit on all of them."""
        return list(values)

    def largest(self, value: float) -> float:
        """The largest of the ranks' values; NaN when one of them is."""
        return value

    def add(self, tensor: Tensor) -> None:
        """The tensor becomes the sum of all ranks' tensors."""

    def wait(self) -> None:
        """Return when all ranks are here."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """An error that one rank raises inside the block is raised by all at its end. Nothing inside may need another
        rank."""
        yield


ALONE = Ranks()


def turns(micro_batches: Sequence[Item], stand_in: Callable[[], Item], ranks: Ranks) -> Iterator[tuple[Item, bool]]:
    """This rank's micro-batches, then a stand-in as often as the rank with the most has more; with each, whether it
    counts. Sharded weights are gathered in every forward and backward, for which all ranks must be there."""
    missing = int(ranks.largest(len(micro_batches))) - len(micro_batches)  # asked before anyone begins
    for micro in micro_batches:
        yield micro, True
    for _ in range(missing):
        yield stand_in(), False


def sharded_like(tensor: Tensor, part: Tensor) -> Tensor:
    """`part` as this rank's part of a tensor that is spread like `tensor`; itself where that one is whole."""
    if not isinstance(tensor, DTensor):
        return part
    return DTensor.from_local(
        part, tensor.device_mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )
