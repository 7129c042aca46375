"""Ranks started by torchrun: weights sharded by FSDP2, collectives over NCCL on GPUs and gloo on CPUs."""

from __future__ import annotations

import gc
import math
import os
import socket
import time
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

_STORE_SECONDS = 20.0
# Words in the messages of torch, gloo and NCCL for a lost rank; their exceptions have no common base class.
_LOST_RANK_WORDS = (
    "gloo",
    "NCCL",
    "Connection closed",
    "Connection reset",
    "Timed out",
    "timed out",
    "Broken pipe",
    "TCPStore",
)


@contextmanager
def joined(timeout_seconds: float) -> Iterator[Ranks]:
    """Join the process group that torchrun's environment describes and yield its ranks; one rank without torchrun.

    Raises `RankLost` when another rank dies or does not respond for `timeout_seconds`, or torchrun is gone.
    """
    if world_size(os.environ) == 1:
        yield ALONE
        return
    try:
        # Objects and scalars are gathered on the CPU, weights and gradients on GPUs.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        _require_store(os.environ)
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
        yield ProcessRanks()
    except (RuntimeError, OSError) as error:
        if not any(text in str(error) for text in _LOST_RANK_WORDS):
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


def _require_store(environ: Mapping[str, str]) -> None:
    """Raise `RankLost` if the host of torchrun's store refuses connections: torchrun opens it before it starts ranks,
    and torch would look for it until its timeout. A name that is not known yet, or a slow network, is left to torch."""
    if environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    address = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
    deadline = time.monotonic() + _STORE_SECONDS
    while True:
        try:
            socket.create_connection(address, timeout=_STORE_SECONDS).close()
            return
        except ConnectionRefusedError as error:
            if time.monotonic() > deadline:
                raise RankLost(
                    f"rank {environ['RANK']}: torchrun's store at {address[0]}:{address[1]} does not answer ({error}); "
                    "torchrun was probably killed. Run the same command again to resume"
                ) from error
            time.sleep(0.5)
        except OSError:
            return


def _leave() -> None:
    # Pending gloo work races with the exit of the process, which then aborts now and then.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


class ProcessRanks(Ranks):
    """The processes of the default process group."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.count = dist.get_world_size()

    def device(self, name: str) -> str:
        """The GPU of this rank, one per rank of a machine; raises `ConfigError` where there are too few."""
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
        # Rank order is batch order, since ranks hold consecutive rows.
        dist.all_gather_object(shares, list(items))
        return [item for share in shares for item in share]

    def first(self, item: Item) -> Item:
        held = [item]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def sums(self, values: Sequence[float]) -> list[float]:
        # Every rank adds in the same order, so that a decision based on a sum is the same on all ranks.
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
    """A model sharded over the ranks by `fully_shard`: one unit per decoder layer and one for the rest.

    Parameters, gradients, optimizer state and SFPO's anchor are fp32 (or fp64) shards. A forward pass gathers one layer
    at a time in the format in which the model was loaded. Gradients are summed over ranks in fp32, not averaged: a
    rank's loss is its rows' share of the whole loss.
    """

    def __init__(self, model: PreTrainedModel, mesh: DeviceMesh) -> None:
        self._format = model.dtype
        self._device = model.device
        half = self._format in (torch.bfloat16, torch.float16)
        # Forward in the model's format; reduce gradients in fp32, since a bf16 reduction would lose small ones.
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
            # FSDP2 averages by default; here each rank's loss is a share of one loss, so gradients are summed.
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)
        self._shards = dict(model.named_parameters())
        self._gathered = False
        with torch.no_grad():
            self.run(tuple)  # FSDP2 finds its root unit in the first forward pass.

    @property
    def device(self) -> torch.device:
        return self._device

    def run(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self._root(work)
        if not torch.is_grad_enabled() and not self._gathered:
            # No backward pass will reshard the root, and an optimizer step may follow.
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
            # Decoding uses every layer at every token, so layers stay gathered after their first forward pass.
            block.set_reshard_after_forward(False, recurse=False)

    def release(self) -> None:
        self._gathered = False
        for unit in self._units:
            unit.reshard()
        for block in self._blocks:
            block.set_reshard_after_forward(True, recurse=False)


class _Root(nn.Module):
    """The root module for FSDP2. One forward pass of it runs `work`, which may call the decoder and the head several
    times."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        return work()


class _WholeWeights(Mapping[str, Tensor]):
    """Sharded weights by name, each gathered when it is looked up, so that at most one is whole at a time."""

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
    """The decoder layers, as listed in the model's `_no_split_modules`."""
    names = set(model._no_split_modules or ())
    return [module for module in model.modules() if type(module).__name__ in names]
