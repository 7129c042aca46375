"""Seconds and memory of a training step of SmolLM2-135M-Instruct beside TRL's GRPOTrainer, in one run.

    python -m benchmarks.learner_step TRL_PYTHON [ROUNDS] [STEPS] [TOKENS ...] [CONTESTANT ...]

TRL_PYTHON is the interpreter of an environment with TRL (`make test-trl` makes .venv-trl/bin/python). A step samples 8
responses to each of 8 prompts and updates the weights once, as TRL's own step does; every response has exactly TOKENS
tokens (12 and 64 unless told) and every group carries a signal. Model, prompts, bf16, AdamW, clipping and threads are
the same. Each CONTESTANT (all, unless some are named) is a process of its own, started in turn, ROUNDS times; its first
step is not counted. `peak` is the process's largest resident memory, start and loading included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.trl_loop import fixed_lengths, rewards, train

if TYPE_CHECKING:
    from sfpo_bench.core.types import Completion

PROMPTS, GROUP, RATE, THREADS = 8, 8, 1e-6, int(os.environ.get("THREADS", "2"))
# Micro-batches by tokens: the smallest that cost no time to speak of, and those of a step with the least memory.
MICRO_BATCH_TOKENS, LEAST_MICRO_BATCH_TOKENS = 640, 160
QUESTIONS = [f"What is {a} + {b}? Answer with just the number." for a in range(10) for b in range(10)]
OURS = ("GRPO", "SFPO", "GRPO_least_memory", "SFPO_least_memory")
CONTESTANTS = {
    "GRPO": "sfpo_bench, GRPO",
    "SFPO": "sfpo_bench, SFPO, K = 3",
    "GRPO_least_memory": "sfpo_bench, GRPO, micro-batches of 160 tokens",
    "SFPO_least_memory": "sfpo_bench, SFPO, micro-batches of 160 tokens",
    "as_it_comes": "TRL as it comes",
    "micro_batches": "TRL, micro-batches of 16",
    "micro_batches_kept": "TRL, micro-batches of 16, no checkpointing",
}


def main(trl_python: str, rounds: int, steps: int, lengths: list[int], names: list[str]) -> None:
    print(f"{THREADS} threads, {rounds} rounds of 1 + {steps} steps; medians of steps; load {os.getloadavg()[0]:.1f}")
    for tokens in lengths:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                python = sys.executable if name in OURS else trl_python
                found[name] += _contest(python, name, tokens, steps)
        print(f"\n8 x 8 responses of {tokens} tokens; load {os.getloadavg()[0]:.1f}")
        print("| | step, s | sampling, s | update, s | CPU s of a step | sampling | update | peak, GB |")
        print("|:--|--:|--:|--:|--:|--:|--:|--:|")
        for name, records in found.items():
            middle = {key: median(record[key] for record in records) for key in records[0]}
            peak = max(record["peak_gb"] for record in records)
            update, update_cpu = (middle[f"step_{s}"] - middle[f"sampling_{s}"] for s in ("s", "cpu_s"))
            print(
                f"| {CONTESTANTS[name]} | {middle['step_s']:.2f} | {middle['sampling_s']:.2f} | {update:.2f} "
                f"| {middle['step_cpu_s']:.2f} | {middle['sampling_cpu_s']:.2f} | {update_cpu:.2f} | {peak:.2f} |"
            )
        for key in ("step_s", "step_cpu_s"):
            mine = median(record[key] for record in found["GRPO"])
            ratios = [
                f"{median(r[key] for r in found[name]) / mine:.2f} ({name})" for name in names if name not in OURS
            ]
            print(f"{key} of TRL over GRPO here: {', '.join(ratios)}", flush=True)


def _contest(python: str, name: str, tokens: int, steps: int) -> list[dict[str, float]]:
    """The counted steps of one contestant's process."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    command = [python, "-m", "benchmarks.learner_step", "--contestant", name, str(tokens), str(steps)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    records = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"sampling_s"')]
    if ran.returncode or len(records) != steps + 1:
        raise SystemExit(f"{name} ended with {ran.returncode} after {len(records)} steps:\n{ran.stderr[-3000:]}")
    return records[1:]


class Clock:
    """Seconds and CPU seconds of a step and of its sampling, one line of JSON a step."""

    def __init__(self) -> None:
        self.record: dict[str, float] = {}

    def begin(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def read(self, name: str, since: tuple[float, float] | None = None) -> None:
        wall, cpu = since or self._started
        self.record[f"{name}_s"] = time.perf_counter() - wall
        self.record[f"{name}_cpu_s"] = time.process_time() - cpu

    @contextmanager
    def sampling(self) -> Iterator[None]:
        since = time.perf_counter(), time.process_time()
        yield
        self.read("sampling", since)

    def end(self) -> None:
        self.read("step")
        self.record["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(json.dumps(self.record), flush=True)


def model_folder() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sfpo_bench" / "SmolLM2-135M-Instruct")


class OwnStep:
    """The engine and the learner of this project: `sample`, then `update`."""

    def __init__(self, name: str, tokens: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from sfpo_bench.algorithms.objectives import Clipped
        from sfpo_bench.algorithms.update_rules import OnePass, SlowFast
        from sfpo_bench.core.types import Message, Prompt
        from sfpo_bench.rollout.encoding import encode_prompts
        from sfpo_bench.rollout.transformers_engine import TransformersEngine
        from sfpo_bench.settings.training import LearnerSettings, Precision
        from sfpo_bench.training.learner import LocalLearner

        torch.set_num_threads(THREADS)
        tokenizer = AutoTokenizer.from_pretrained(model_folder())
        model = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=torch.bfloat16).eval()
        self._tokens = tokens
        self._prompts = encode_prompts(tokenizer, [Prompt(text, (Message("user", text),)) for text in QUESTIONS])
        # No token ends a response, so that all have the same length.
        self._engine = TransformersEngine(model, tokenizer, frozenset(), PROMPTS * GROUP)
        settings = LearnerSettings(
            learning_rate=RATE,
            precision=Precision.bfloat16,
            micro_batch_tokens=LEAST_MICRO_BATCH_TOKENS if name.endswith("least_memory") else MICRO_BATCH_TOKENS,
        )
        self._learner = LocalLearner(model, Clipped(), settings, 1.0)
        self._rule = OnePass() if name.startswith("GRPO") else SlowFast(fast_passes=3, alpha=0.8)

    def sample(self, step: int) -> list[Completion]:
        from sfpo_bench.core.types import Sampling
        from sfpo_bench.rollout.protocol import NoiseStream, Request

        chosen = [(PROMPTS * step + number) % len(QUESTIONS) for number in range(PROMPTS)]
        requests = [Request(QUESTIONS[i], self._prompts[i], tuple(range(GROUP))) for i in chosen]
        return list(self._engine.generate(requests, Sampling(1.0, self._tokens), NoiseStream(0, "rollout", step)))

    def update(self, step: int, completions: list[Completion]) -> float:
        """Update the weights, and return the seconds of the reposition."""
        import torch

        from sfpo_bench.algorithms.advantages.group import group_advantages
        from sfpo_bench.training.batch import assemble

        rewards_PG = torch.tensor(rewards(len(completions))).view(PROMPTS, GROUP)
        batch = assemble(completions, group_advantages(rewards_PG).reshape(-1), self._tokens)
        self._learner.begin_step(step, batch)
        self._rule.update(self._learner, batch)
        return self._learner.end_step().reposition_seconds


def ours(name: str, tokens: int, steps: int) -> None:
    """The steps of this project's engine and learner."""
    own, clock = OwnStep(name, tokens), Clock()
    for step in range(1, steps + 2):
        clock.begin()
        with clock.sampling():
            completions = own.sample(step)
        clock.record["reposition_s"] = own.update(step, completions)
        clock.end()


def trl_settings(name: str, tokens: int) -> dict[str, Any]:
    """What TRL's trainer is told so that its work is ours, and how this contestant lays it out."""
    layout: dict[str, Any] = {"per_device_train_batch_size": PROMPTS * GROUP}
    if name != "as_it_comes":
        layout = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": PROMPTS * GROUP // 16}
    if name == "micro_batches_kept":
        layout["gradient_checkpointing"] = False
    return {
        "model_init_kwargs": {"dtype": "bfloat16"},
        "bf16": True,
        "use_cpu": True,
        **fixed_lengths(tokens, GROUP, RATE),
        **layout,
    }


def trl(name: str, tokens: int, steps: int) -> None:
    """The steps of TRL's trainer."""
    import torch
    from transformers import AutoTokenizer

    torch.set_num_threads(THREADS)
    settings = {"max_steps": steps + 1, **trl_settings(name, tokens)}
    prompts = [[{"role": "user", "content": question}] for question in QUESTIONS]
    train(model_folder(), AutoTokenizer.from_pretrained(model_folder()), prompts, settings, Clock())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contestant"]:
        name, tokens, steps = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        (ours if name in OURS else trl)(name, tokens, steps)
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("trl_python", metavar="TRL_PYTHON")
        parser.add_argument("rounds", type=int, nargs="?", default=2, metavar="ROUNDS")
        parser.add_argument("steps", type=int, nargs="?", default=2, metavar="STEPS")
        parser.add_argument("rest", nargs="*", default=[], metavar="TOKENS or CONTESTANT", help=", ".join(CONTESTANTS))
        asked = parser.parse_args()
        lengths = [int(word) for word in asked.rest if word.isdigit()]
        names = [word for word in asked.rest if not word.isdigit()]
        if unknown := set(names) - set(CONTESTANTS):
            parser.error(f"no contestants: {', '.join(unknown)}; expected some of {', '.join(CONTESTANTS)}")
        # All ratios are to GRPO here.
        chosen = list(dict.fromkeys(["GRPO", *(names or CONTESTANTS)]))
        main(asked.trl_python, asked.rounds, asked.steps, lengths or [12, 64], chosen)
