"""One process of an FSDP2 run with `SlowFastOptimizer`: python sharded_worker.py RANK PROCESSES FOLDER MOMENTS.

Rank 0 writes the whole weights after three batches to FOLDER/weights.pt. In the second batch, after the first attempt,
weights and optimizer are saved, changed and taken up again.
"""

from __future__ import annotations

import copy
import gc
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.debug import CommDebugMode

from sfpo_bench import SlowFastOptimizer

FAST, STEPS = 2, 2


def model() -> nn.Sequential:
    """Shapes that two processes cannot share evenly."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def loss(module: nn.Module, step: int) -> Tensor:
    source = torch.Generator().manual_seed(step)
    inputs = torch.randn(8, 3, generator=source, dtype=torch.float64)
    gaps: Tensor = module(inputs) - inputs.prod(dim=1, keepdim=True)
    return gaps.square().mean()


def optimizer_of(module: nn.Module, moments: str) -> SlowFastOptimizer:
    inner = torch.optim.AdamW(module.parameters(), lr=0.05, weight_decay=0.1)
    return SlowFastOptimizer(inner, fast_passes=FAST, alpha=0.7, moments=moments)


def train(module: nn.Module, optimizer: SlowFastOptimizer, *, batches: int = 3, save_and_take_up: bool = False) -> None:
    for batch in range(batches):
        communicated(optimizer.begin_batch, STEPS)
        for attempt in range(optimizer.passes * STEPS):
            optimizer.zero_grad()
            loss(module, batch * STEPS + attempt % STEPS).backward()
            communicated(optimizer.step)
            if save_and_take_up and batch == 1 and attempt == 0:
                _save_and_take_up(module, optimizer)


def communicated(verb: object, *arguments: int) -> None:
    """Runs a verb of the optimizer and makes sure that no process talked to another meanwhile."""
    with CommDebugMode() as mode:
        verb(*arguments)  # type: ignore[operator]  # a verb is a method
    assert mode.get_total_counts() == 0


def _save_and_take_up(module: nn.Module, optimizer: SlowFastOptimizer) -> None:
    saved = copy.deepcopy([module.state_dict(), optimizer.state_dict()])
    for _ in range(FAST * STEPS):
        loss(module, 99).backward()
        optimizer.step()
    module.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])


def main(rank: int, processes: int, folder: Path, moments: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    mesh = init_device_mesh("cpu", (processes,))
    module = model()
    for layer in module:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    optimizer = optimizer_of(module, moments)
    train(module, optimizer, save_and_take_up=True)
    weights = [p.full_tensor().detach().clone() for p in module.parameters() if isinstance(p, DTensor)]
    if rank == 0:
        torch.save(weights, folder / "weights.pt")
    # Gloo's threads must find nothing left to do: otherwise the exit races with them and aborts now and then.
    del module, optimizer, weights
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
