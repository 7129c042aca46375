"""Tokens a second through our vLLM engine, through vLLM alone and through transformers, and seconds per push.

    python benchmarks/vllm_rollouts.py [NEW_TOKENS] [ROUNDS] [float32|bfloat16]

SmolLM2-135M-Instruct (`sfpo-bench fetch smollm2`), temperature 1, groups of 8, at 32 and 128 responses side by side,
each of NEW_TOKENS tokens. The contestants take turns in one process, so that ratios hold on a busy machine:

    ours           VllmEngine: a seed of its own for each response, log-probs, text
    bare           the same `vllm.LLM`: the same prompts, no seeds, no log-probs, no text
    bare, same     the same with seeds and log-probs, as our engine asks for them
    transformers   TransformersEngine, one prefill for a group

CPU seconds, of all threads, say the same as seconds where others share the cores.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from sfpo_bench.rollout.vllm_environment import prepare_environment

prepare_environment(0)  # before torch is imported

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from vllm import SamplingParams  # noqa: E402

from sfpo_bench.algorithms.objectives import Clipped  # noqa: E402
from sfpo_bench.core.types import Split  # noqa: E402
from sfpo_bench.models import smollm2  # noqa: E402
from sfpo_bench.models.load import aliases  # noqa: E402
from sfpo_bench.problems.addition import Addition  # noqa: E402
from sfpo_bench.rollout.encoding import encode_problems  # noqa: E402
from sfpo_bench.rollout.protocol import NoiseStream, Request, Sampling  # noqa: E402
from sfpo_bench.rollout.transformers_engine import TransformersEngine  # noqa: E402
from sfpo_bench.rollout.vllm_backend import UNTIED, Launch  # noqa: E402
from sfpo_bench.rollout.vllm_engine import TrainerSide, VllmEngine  # noqa: E402
from sfpo_bench.rollout.vllm_in_process import InProcessVllm  # noqa: E402
from sfpo_bench.settings.rollout import OverLong, VllmRollout  # noqa: E402
from sfpo_bench.settings.training import LearnerSettings, Precision  # noqa: E402
from sfpo_bench.training.build import presentation  # noqa: E402
from sfpo_bench.training.learner import LocalLearner  # noqa: E402

GROUP = 8
NEVER = 49151  # the last token of the vocabulary; nothing ends a response but the limit


@dataclass(frozen=True, slots=True)
class Engines:
    """Both engines on the same weights, the vLLM beneath ours, and what a push hands over."""

    ours: VllmEngine
    vllm: InProcessVllm
    transformers: TransformersEngine
    push: Callable[[], None]
    requests: list[Request]


def start(dtype: str) -> Engines:
    folder = str(smollm2.locate(smollm2.default_cache()))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    learner = LocalLearner(model, Clipped(), LearnerSettings(precision=Precision(dtype)), 1.0)
    task = Addition()
    problems = encode_problems(tokenizer, task, task.problems(Split.train), 128, OverLong.drop)
    requests = [Request(item.problem.id, item.prompt_ids, tuple(range(GROUP))) for item in problems]
    launch = Launch(folder, "", dtype, "cpu", 256, 128, 512 * 2**20, False, True, UNTIED)
    side = TrainerSide(learner.weights(), presentation(aliases(model), None), learner.log_probs, dtype, 0)
    ends = frozenset({NEVER})
    vllm = InProcessVllm(launch)
    ours = VllmEngine(lambda: vllm, VllmRollout(), side, tokenizer, ends, requests)
    plain = TransformersEngine(model, tokenizer, ends, 128)
    return Engines(ours, vllm, plain, lambda: vllm.push(side.present(learner.weights())), requests)


def bare(vllm: InProcessVllm, requests: list[Request], new_tokens: int, *, as_ours: bool) -> None:
    """The prompts through `vllm.LLM` itself, with the seeds and log-probs that our engine asks for, or without."""
    prompts = [{"prompt_token_ids": list(r.prompt_ids)} for r in requests for _ in r.samples]
    parameters = [
        SamplingParams(
            temperature=1.0,
            max_tokens=new_tokens,
            detokenize=False,
            seed=index if as_ours else None,
            logprobs=0 if as_ours else None,
            flat_logprobs=as_ours,
        )
        for index in range(len(prompts))
    ]
    vllm._llm.generate(prompts, parameters, use_tqdm=False)


def contestants(engines: Engines, responses: int, new_tokens: int) -> dict[str, Callable[[], object]]:
    requests = engines.requests[: responses // GROUP]
    sampling, noise = Sampling(1.0, new_tokens), NoiseStream(0, "rollout", 1)
    return {
        "ours": lambda: engines.ours.generate(requests, sampling, noise),
        "bare": lambda: bare(engines.vllm, requests, new_tokens, as_ours=False),
        "bare, same": lambda: bare(engines.vllm, requests, new_tokens, as_ours=True),
        "transformers": lambda: engines.transformers.generate(requests, sampling, noise),
    }


def take_turns(engines: Engines, responses: int, new_tokens: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds and CPU seconds of every round but the first, which warms up; transformers has two rounds, being many
    times slower."""
    taken: dict[str, list[tuple[float, float]]] = {}
    for turn in range(rounds + 1):
        for name, act in contestants(engines, responses, new_tokens).items():
            if name == "transformers" and turn > 2:
                continue
            engines.vllm._llm.reset_prefix_cache()
            wall, cpu = time.perf_counter(), time.process_time()
            act()
            if turn:
                taken.setdefault(name, []).append((time.perf_counter() - wall, time.process_time() - cpu))
    return taken


def main(new_tokens: int, rounds: int, dtype: str) -> None:
    engines = start(dtype)
    print(f"SmolLM2, {dtype}, {new_tokens} new tokens, {rounds} rounds in turn, {torch.get_num_threads()} threads")
    print("start: " + ", ".join(f"{name} {value:.4g}" for name, value in engines.ours.started().items()))
    for responses in (32, 128):
        taken = take_turns(engines, responses, new_tokens, rounds)
        for name, pairs in taken.items():
            both = list(zip(pairs, taken["ours"], strict=False))  # Ratios are of the same round.
            wall_ratio, cpu_ratio = (median(theirs[i] / mine[i] for theirs, mine in both) for i in (0, 1))
            rate = responses * new_tokens / median(pair[0] for pair in pairs)
            print(
                f"{responses:4} responses  {name:13} {rate:7.1f} tokens/s, {median(pair[1] for pair in pairs):6.2f} "
                f"CPU seconds; ours / it, speed: {wall_ratio:.3f}, by CPU seconds {cpu_ratio:.3f}",
                flush=True,
            )
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        engines.push()
        seconds.append(time.perf_counter() - started)
    print(f"push: {median(seconds[1:]):.3f} s (median of {rounds}; {min(seconds):.3f} to {max(seconds):.3f})")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    given = [int(argument) for argument in arguments if argument.isdigit()]
    number = [*given, *[24, 5][len(given) :]]
    main(number[0], number[1], next((a for a in arguments if not a.isdigit()), "float32"))
