"""Where the time of a training step of SmolLM2-135M-Instruct goes, beside what the machine can do.

    python -m benchmarks.step_profile [TOKENS ...]

The step is that of GRPO in benchmarks/learner_step.py. torch's profiler gives each operation its own seconds, without
those of the operations that it calls; they are added by kind. Python, and what no operation covers, is the rest of the
wall time. FLOPs are counted from the shapes of the matrix products. The machine's limit is the best rate of one matrix
product of bfloat16 among some sizes, measured before.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.learner_step import THREADS, OwnStep

# The first kind of which a part is in the operation's name.
KINDS: Mapping[str, tuple[str, ...]] = {
    "attention kernel of torch": ("scaled_dot_product",),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "mkldnn", "aten::linear", "_mm"),
    "softmax and log-probs": (
        "softmax",
        "logsumexp",
        "aten::exp",
        "aten::log",
        "aten::gather",
        "aten::max",
        "aten::sort",
    ),
    "optimizer and gradient norm": ("adamw", "_foreach", "linalg_vector_norm", "aten::lerp"),
    "copies and layout": ("copy", "aten::cat", "index", "aten::clone", "aten::contiguous", "aten::fill", "aten::zero"),
}
REST, UNCOVERED = "other operations", "Python and what no operation covers"
SIZES = (512, 1024, 2048, 4096)


def main(*lengths: int) -> None:
    import torch

    torch.set_num_threads(THREADS)
    limit = max(_product_rate(size) for size in SIZES)
    print(f"{THREADS} threads, load {os.getloadavg()[0]:.1f}; the machine's limit: {limit:.0f} GFLOP/s in bfloat16")
    for tokens in lengths or (12, 64):
        own = OwnStep("GRPO", tokens)
        own.update(1, own.sample(1))
        completions: list[Any] = []
        sampling = profiled(lambda: completions.extend(own.sample(2)))  # noqa: B023 - called before the next one
        update = profiled(lambda: own.update(2, completions))  # noqa: B023
        print(f"\n8 x 8 responses of {tokens} tokens\n\n| | sampling | update |\n|:--|--:|--:|")
        for kind in (*KINDS, REST, UNCOVERED):
            print(f"| {kind} | {sampling.shares.get(kind, 0.0):.0%} | {update.shares.get(kind, 0.0):.0%} |")
        print(f"| seconds, with the profiler | {sampling.seconds:.2f} | {update.seconds:.2f} |")
        print(f"| matrix products, GFLOP/s | {sampling.rate:.0f} | {update.rate:.0f} |")
        print(f"| share of the limit | {sampling.rate / limit:.0%} | {update.rate / limit:.0%} |")


class Profile:
    """Shares of the wall time by kind, and the rate of the matrix products in GFLOP/s."""

    def __init__(self, seconds: float, by_kind: Mapping[str, float], products_flops: float) -> None:
        self.seconds = seconds
        uncovered = max(0.0, seconds - sum(by_kind.values()))
        self.shares = {kind: spent / seconds for kind, spent in {**by_kind, UNCOVERED: uncovered}.items()}
        self.rate = products_flops / by_kind["matrix products"] / 1e9


def profiled(act: Callable[[], object]) -> Profile:
    """The profile of one call."""
    from torch.profiler import ProfilerActivity, profile

    begun = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True) as found:
        act()
        seconds = time.perf_counter() - begun
    by_kind, flops = Counter[str](), 0.0
    for event in found.key_averages():
        kind = kind_of(event.key)
        by_kind[kind] += event.self_cpu_time_total / 1e6
        if kind == "matrix products":
            flops += event.flops
    return Profile(seconds, by_kind, flops)


def kind_of(operation: str) -> str:
    """The kind of an operation by its name."""
    return next((kind for kind, parts in KINDS.items() if any(part in operation.lower() for part in parts)), REST)


def _product_rate(size: int) -> float:
    """GFLOP/s of a product of two square bfloat16 matrices: the best of five."""
    import torch

    first, second = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    spent = []
    for _ in range(5):
        begun = time.perf_counter()
        torch.mm(first, second)
        spent.append(time.perf_counter() - begun)
    return 2.0 * size**3 / min(spent) / 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=int, nargs="*", metavar="TOKENS")
    main(*parser.parse_args().tokens)
