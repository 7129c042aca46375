"""How the cost of an update grows: with the batch, with the length of responses, with the size of the model.

    python benchmarks/learner_cost.py [STEPS]

One optimizer step in bf16 with fp32 masters on made-up tokens, 8 responses to each prompt of 32 tokens, micro-batches
of at most 640 tokens, one thread. Seconds are CPU seconds of the process, the least of STEPS steps after the first;
memory is the largest resident set, less what the process held before the model was made. Each point is a process of its
own. An exponent b is that of the least-squares line of log cost over log x: cost ~ x^b. Snapshot and reposition are
timed on their own and given as a share of the update of SFPO (K = 3) that they belong to.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sfpo_bench.training.batch import TrainBatch

GROUP, PROMPT_TOKENS = 8, 32
# Vocabulary, hidden, feed-forward, layers, heads, key-value heads: towards SmolLM2-135M, which is the last.
SHAPES = {
    "2.5 M": (8192, 144, 384, 6, 3, 1),
    "11.8 M": (16384, 288, 768, 8, 6, 2),
    "40.5 M": (24576, 432, 1152, 15, 9, 3),
    "134.5 M": (49152, 576, 1536, 30, 9, 3),
}
AXES = {
    "prompts": [("40.5 M", prompts, 32) for prompts in (2, 4, 8, 16)],
    "response tokens": [("40.5 M", 4, tokens) for tokens in (16, 32, 64, 128, 256)],
    "parameters": [(size, 4, 32) for size in SHAPES],
}


def main(steps: int = 2) -> None:
    for axis, points in AXES.items():
        print(f"\n| {axis} | parameters | tokens | update, CPU s | memory, GB | reposition, CPU s | of SFPO's update |")
        print("|--:|--:|--:|--:|--:|--:|--:|", flush=True)
        costs: list[tuple[float, float, float]] = []
        for size, prompts, tokens in points:
            found = _measure(size, prompts, tokens, steps)
            x = {"prompts": prompts, "response tokens": tokens, "parameters": found["parameters"]}[axis]
            costs.append((x, found["update_cpu_s"], found["memory_gb"]))
            share = 100 * found["reposition_cpu_s"] / found["sfpo_cpu_s"]
            print(
                f"| {x:,.0f} | {size} | {found['tokens']:,.0f} | {found['update_cpu_s']:.2f} "
                f"| {found['memory_gb']:.2f} | {found['reposition_cpu_s']:.4f} | {share:.2f} % |",
                flush=True,
            )
        for name, place in (("CPU seconds", 1), ("memory", 2)):
            steepness = [math.log(b[place] / a[place]) / math.log(b[0] / a[0]) for a, b in pairwise(costs)]
            fitted = exponent([c[0] for c in costs], [c[place] for c in costs])
            print(f"{name} ~ {axis}^{fitted:.2f}; between neighbours {', '.join(f'{s:.2f}' for s in steepness)}")


def exponent(xs: list[float], costs: list[float]) -> float:
    """The slope of the least-squares line through log cost over log x."""
    us, vs = [math.log(x) for x in xs], [math.log(c) for c in costs]
    u, v = sum(us) / len(us), sum(vs) / len(vs)
    return sum((a - u) * (b - v) for a, b in zip(us, vs, strict=True)) / sum((a - u) ** 2 for a in us)


def _measure(size: str, prompts: int, tokens: int, steps: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--point", size, str(prompts), str(tokens), str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr[-3000:])
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def point(size: str, prompts: int, tokens: int, steps: int) -> dict[str, float]:
    """The costs of one configuration, in this process."""
    import torch

    from sfpo_bench.algorithms.objectives import Clipped
    from sfpo_bench.algorithms.protocols import Moments
    from sfpo_bench.algorithms.update_rules import OnePass, SlowFast
    from sfpo_bench.settings.training import LearnerSettings, Precision
    from sfpo_bench.training.learner import LocalLearner

    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = _resident_bytes()
    model, batch = _model(size), _batch(SHAPES[size][0], prompts, tokens)
    settings = LearnerSettings(precision=Precision.bfloat16, micro_batch_tokens=640)
    learner = LocalLearner(model, Clipped(), settings, 1.0)

    def update_cpu_s(rule: OnePass | SlowFast) -> float:
        started = time.process_time()
        learner.begin_step(1, batch)
        rule.update(learner, batch)
        learner.end_step()
        return time.process_time() - started

    seconds = [update_cpu_s(OnePass()) for _ in range(steps + 1)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    whole = update_cpu_s(SlowFast(fast_passes=3))
    started = time.process_time()
    learner.masters.snapshot(Moments.carry)
    learner.masters.reposition(0.8, Moments.carry)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": batch.tokens,
        "update_cpu_s": min(seconds[1:]),
        "memory_gb": memory / 1e9,
        "sfpo_cpu_s": whole,
        "reposition_cpu_s": time.process_time() - started,
    }


def _model(size: str) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary, hidden, feed_forward, layers, heads, kv_heads = SHAPES[size]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    model: PreTrainedModel = LlamaForCausalLM(config)
    # Not `model.to`: how transformers wraps it is read otherwise by the type checker from one import order to the next.
    torch.nn.Module.to(model, torch.bfloat16)
    return model


def _batch(vocabulary: int, prompts: int, tokens: int) -> TrainBatch:
    """Tokens at random, the prompt of a group alike."""
    import torch

    from sfpo_bench.core.types import Completion, FinishReason
    from sfpo_bench.training.batch import assemble

    drawn = torch.randint(3, vocabulary, (prompts * GROUP, PROMPT_TOKENS + tokens)).tolist()
    completions = [
        Completion("", row, tuple(drawn[row - row % GROUP][:PROMPT_TOKENS]), tuple(drawn[row][PROMPT_TOKENS:]),
                   (0.0,) * tokens, "", FinishReason.truncated)
        for row in range(len(drawn))
    ]  # fmt: skip
    return assemble(completions, torch.randn(len(drawn)), tokens)


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as handle:
        return int(handle.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--point"]:
        size, *numbers = sys.argv[2:]
        print(json.dumps(point(size, *map(int, numbers))))
    else:
        main(*map(int, sys.argv[1:]))
