"""Ranks that torchrun started: sharded weights by FSDP2, sums over NCCL on GPUs and gloo on processors."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from sfpo_bench.core.errors import BenchError, ConfigError, Interrupted, RankLost
from sfpo_bench.training.processes import world_size
from sfpo_bench.training.ranks import ALONE, Item, PlacedModel, Ranks

# How the libraries below say that another rank is gone or silent; their exceptions have no common base.
_LOST = ("gloo", "NCCL", "Connection closed", "Connection reset", "Timed out", "timed out", "Broken pipe", "TCPStore")


@contextmanager
def joined(timeout_seconds: float) -> Iterator[Ranks]:
    """The ranks of this process's run, by the environment torchrun leaves; one rank without it.

    Raises `RankLost` when another rank dies, or is silent for `timeout_seconds`.
    """
    if world_size(os.environ) == 1:
        yield ALONE
        return
    try:
        # Python objects and single numbers are gathered on processors, weights and gradients on GPUs.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
        yield ProcessRanks()
    except (RuntimeError, OSError) as error:
        if not any(text in str(error) for text in _LOST):
            raise
        raise RankLost(
            f"rank {os.environ.get('RANK')}: another process of this run died or was silent for {timeout_seconds:g} s "
            f"({str(error).splitlines()[0]}); its own message says why. Run the same command again to resume"
        ) from error
    except Interrupted:  # All ranks stop together.
        _leave()
        raise
    else:
        _leave()


def _leave() -> None:
    # Gloo's threads must find nothing left to do: otherwise the exit races with them and aborts now and then.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


class ProcessRanks(Ranks):
    """The processes of the default process group."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.count = dist.get_world_size()

    def device(self, name: str) -> str:
        """A GPU of its own for each rank of a machine; raises `ConfigError` where there are fewer."""
        if name == "cpu":
            return name
        mine, there = int(os.environ.get("LOCAL_RANK", self.rank)), torch.cuda.device_count()
        if name != "cuda" or mine >= there:
            raise ConfigError(
                f"device = {name} with {there} GPUs for local rank {mine} of a run in {self.count} processes; expected "
                "device=auto or cuda and a GPU for each process of a machine: lower --nproc-per-node"
            )
        torch.cuda.set_device(mine)
        return f"cuda:{mine}"

    def place(self, model: PreTrainedModel) -> PlacedModel:
        return ShardedModel(model, init_device_mesh(model.device.type, (self.count,)))

    def gather(self, items: Sequence[Item]) -> list[Item]:
        shares: list[list[Item]] = [[] for _ in range(self.count)]
        # In the order of ranks, which is the order of the batch: ranks hold consecutive rows.
        dist.all_gather_object(shares, list(items))
        return [item for share in shares for item in share]

    def first(self, item: Item) -> Item:
        held = [item]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def sums(self, values: Sequence[float]) -> list[float]:
        # Added here, in the same order everywhere, so that a decision on a sum is the same on all ranks.
        return [
            math.fsum(column) if all(map(math.isfinite, column)) else sum(column) for column in self._columns(values)
        ]

    def largest(self, value: float) -> float:
        [column] = self._columns([value])
        return math.nan if any(map(math.isnan, column)) else max(column)

    def _columns(self, values: Sequence[float]) -> list[list[float]]:
        mine = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(rows, mine)
        columns: list[list[float]] = torch.stack(rows, dim=1).tolist()
        return columns

    def add(self, tensor: Tensor) -> None:
        dist.all_reduce(tensor)

    def wait(self) -> None:
        self.gather([])

    @contextmanager
    def together(self) -> Iterator[None]:
        raised: list[BenchError] = []
        try:
            yield
        except BenchError as error:
            raised.append(error)
        found = self.gather(raised)
        if found:
            raise raised[0] if raised else found[0]


class ShardedModel:
    """A model whose parameters are spread over the ranks by `fully_shard`: each decoder layer, and what is beside them.

    Parameters, their gradients, the optimizer's state and SFPO's copy are fp32 (or fp64) shards; a forward gathers one
    layer after another in the format the model was loaded in. Gradients are summed over ranks, in fp32, not averaged:
    a rank's loss is its rows' share of the whole loss.
    """

    def __init__(self, model: PreTrainedModel, mesh: DeviceMesh) -> None:
        self._format = model.dtype
        self._device = model.device
        half = self._format in (torch.bfloat16, torch.float16)
        # Forward in the model's format, gradients summed in fp32: bf16 sums over ranks would lose small ones.
        compute, reduce = (self._format, torch.float32) if half else (None, None)
        policy = MixedPrecisionPolicy(compute, reduce, cast_forward_inputs=False)
        if half:
            model.float()
        self._blocks: list[FSDPModule] = [fully_shard(block, mesh=mesh, mp_policy=policy) for block in _blocks(model)]
        self._root = _Root(model)
        fully_shard(self._root, mesh=mesh, mp_policy=policy)
        assert isinstance(self._root, FSDPModule)
        self._units: list[FSDPModule] = [*self._blocks, self._root]
        for unit in self._units:
            # FSDP2 averages by default; here each rank holds its share of one loss, and shares add up.
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)
        self._shards = dict(model.named_parameters())
        self._gathered = False
        with torch.no_grad():
            self.run(tuple)  # The first forward tells FSDP2 which of its units is the root.

    @property
    def device(self) -> torch.device:
        return self._device

    def run(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self._root(work)
        if not torch.is_grad_enabled() and not self._gathered:
            # No backward will put the root's parameters back, and an optimizer step may follow.
            self._root.reshard()  # type: ignore[operator]  # fully_shard adds it
        return found

    def weights(self) -> Mapping[str, Tensor]:
        return _WholeWeights(self._shards, self._format)

    def owned(self) -> Sequence[Tensor]:
        return list(self._shards.values())

    def gather(self) -> None:
        self.release()
        with torch.no_grad():
            for unit in self._units:
                unit.unshard()
        self._gathered = True
        for block in self._blocks:
            # While responses are decoded every layer is used at every token: gathered once, then kept whole.
            block.set_reshard_after_forward(False, recurse=False)

    def release(self) -> None:
        self._gathered = False
        for unit in self._units:
            unit.reshard()
        for block in self._blocks:
            block.set_reshard_after_forward(True, recurse=False)


class _Root(nn.Module):
    """What FSDP2 takes for the model: one forward of it is all that is done with the weights between two gatherings,
    be it two calls of the decoder, the head in pieces, or both."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        return work()


class _WholeWeights(Mapping[str, Tensor]):
    """Sharded weights by name, each gathered when it is looked up: never more than one at a time is whole."""

    def __init__(self, shards: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        self._shards = shards
        self._dtype = dtype

    def __getitem__(self, name: str) -> Tensor:
        shard = self._shards[name].detach()
        return (shard.full_tensor() if isinstance(shard, DTensor) else shard).to(self._dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shards)

    def __len__(self) -> int:
        return len(self._shards)


def _blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder layers, by the architecture's own word for what must not be divided."""
    names = set(model._no_split_modules or ())
    return [module for module in model.modules() if type(module).__name__ in names]
