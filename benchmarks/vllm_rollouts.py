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
from statistics import median

from sfpo_bench.rollout.vllm_environment import prepare_environment

prepare_environment(0)  # before torch is imported

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from vllm import SamplingParams  # noqa: E402

from sfpo_bench.algorithms.objectives import Clipped  # noqa: E402
from sfpo_bench.build import presentation  # noqa: E402
from sfpo_bench.models import smollm2  # noqa: E402
from sfpo_bench.models.load import aliases  # noqa: E402
from sfpo_bench.rollout.encoding import encode_problems  # noqa: E402
from sfpo_bench.rollout.protocol import NoiseStream, Request, Sampling  # noqa: E402
from sfpo_bench.rollout.settings import OverLong, VllmRollout  # noqa: E402
from sfpo_bench.rollout.transformers_engine import TransformersEngine  # noqa: E402
from sfpo_bench.rollout.vllm_backend import UNTIED, Launch  # noqa: E402
from sfpo_bench.rollout.vllm_engine import TrainerSide, VllmEngine  # noqa: E402
from sfpo_bench.rollout.vllm_in_process import InProcessVllm  # noqa: E402
from sfpo_bench.tasks.addition import Addition  # noqa: E402
from sfpo_bench.training.learner import LocalLearner  # noqa: E402
from sfpo_bench.training.settings import LearnerSettings, Precision  # noqa: E402
from sfpo_bench.types import Split  # noqa: E402

GROUP = 8
NEVER = 49151  # the last token of the vocabulary; nothing ends a response but the limit


def main(new_tokens: int, rounds: int, dtype: str) -> None:
    folder = str(smollm2.locate(smollm2.default_cache()))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    learner = LocalLearner(model, Clipped(), LearnerSettings(precision=Precision(dtype)), 1.0, GROUP)
    task = Addition()
    problems = encode_problems(tokenizer, task, task.problems(Split.train), 128, OverLong.drop)
    every = [Request(item.problem.id, item.prompt_ids, tuple(range(GROUP))) for item in problems]
    launch = Launch(folder, "", dtype, "cpu", 256, 128, 512 * 2**20, False, True, UNTIED)
    side = TrainerSide(learner.weights(), presentation(aliases(model), None), learner.log_probs, dtype, 0)
    ends = frozenset({NEVER})
    ours = VllmEngine(lambda: InProcessVllm(launch), VllmRollout(), side, tokenizer, ends, every)
    backend = ours._backend
    assert isinstance(backend, InProcessVllm)
    plain = TransformersEngine(model, tokenizer, ends, 128)
    sampling, noise = Sampling(1.0, new_tokens), NoiseStream(0, "rollout", 1)

    def bare(requests: list[Request], **more: int | bool) -> None:
        prompts = [{"prompt_token_ids": list(r.prompt_ids)} for r in requests for _ in r.samples]
        parameters = [
            SamplingParams(
                temperature=1.0,
                max_tokens=new_tokens,
                detokenize=False,
                **({"seed": index, **more} if more else {}),
            )
            for index in range(len(prompts))
        ]
        backend._llm.generate(prompts, parameters, use_tqdm=False)

    print(f"SmolLM2, {dtype}, {new_tokens} new tokens, {rounds} rounds in turn, {torch.get_num_threads()} threads")
    print("start: " + ", ".join(f"{name} {value:.4g}" for name, value in ours.started().items()))
    for responses in (32, 128):
        requests = every[: responses // GROUP]
        contestants: dict[str, Callable[[], object]] = {
            "ours": lambda requests=requests: ours.generate(requests, sampling, noise),
            "bare": lambda requests=requests: bare(requests),
            "bare, same": lambda requests=requests: bare(requests, logprobs=0, flat_logprobs=True),
            "transformers": lambda requests=requests: plain.generate(requests, sampling, noise),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for turn in range(rounds + 1):
            for name, act in contestants.items():
                if name == "transformers" and turn > 2:
                    continue  # many times slower; two rounds tell as much
                backend._llm.reset_prefix_cache()
                wall, cpu = time.perf_counter(), time.process_time()
                act()
                taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        for name, pairs in taken.items():
            # The first round warms up. Ratios are of the same round.
            both = list(zip(pairs[1:], taken["ours"][1:], strict=False))
            wall_ratio, cpu_ratio = (median(theirs[i] / mine[i] for theirs, mine in both) for i in (0, 1))
            rate = responses * new_tokens / median(pair[0] for pair in pairs[1:])
            cpu_seconds = median(pair[1] for pair in pairs[1:])
            print(
                f"{responses:4} responses  {name:13} {rate:7.1f} tokens/s, {cpu_seconds:6.2f} CPU seconds; "
                f"ours / it, speed: {wall_ratio:.3f}, by CPU seconds {cpu_ratio:.3f}",
                flush=True,
            )
    pushes = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        backend.push(side.present(learner.weights()))
        pushes.append(time.perf_counter() - started)
    print(f"push: {median(pushes[1:]):.3f} s (median of {rounds}; {min(pushes):.3f} to {max(pushes):.3f})")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    given = [int(argument) for argument in arguments if argument.isdigit()]
    number = [*given, *[24, 5][len(given) :]]
    main(number[0], number[1], next((a for a in arguments if not a.isdigit()), "float32"))
