"""Seconds of the embedded experiment's training steps beside a plain reference loop, in one process and one run.

    python benchmarks/step_time.py [STEPS] [ROUNDS]

The reference loop is what one would write first with transformers alone: `generate` for the rollouts, one forward and
backward over every row with all its logits, AdamW, the same batch and the same passes. Evaluation, checkpoints and
start-up are left out of both. One thread. The two are timed in turn, so that the ratio holds on a busy machine.
"""

from __future__ import annotations

import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sfpo_bench.algorithms.advantages.group import group_advantages
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.protocols import UpdateRule
from sfpo_bench.algorithms.update_rules import OnePass, SlowFast
from sfpo_bench.core.types import Completion, FinishReason, Sampling, Split
from sfpo_bench.models.arithmetic_character import FOLDER
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.rollout.encoding import EncodedProblem, encode_problems, end_of_sequence_ids
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.rollout.transformers_engine import TransformersEngine
from sfpo_bench.settings.rollout import OverLong
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import assemble
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.rollouts import ProblemSchedule

PROMPTS, GROUP, NEW_TOKENS, RATE = 32, 8, 12, 2e-4
TASK = Arithmetic()


def problems() -> ProblemSchedule:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    return ProblemSchedule(
        encode_problems(tokenizer, TASK, TASK.problems(Split.train), 16, OverLong.refuse), PROMPTS, 0
    )


def ours(rule: UpdateRule, schedule: ProblemSchedule, steps: int) -> float:
    """Seconds of `steps` steps of this project's engine and learner."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    engine = TransformersEngine(model.eval(), tokenizer, end_of_sequence_ids(model, tokenizer), PROMPTS * GROUP)
    objective = Clipped()
    learner = LocalLearner(model, objective, LearnerSettings(learning_rate=RATE), 1.0)
    started = time.perf_counter()
    for step in range(1, steps + 1):
        chosen = schedule.at(step)
        requests = [Request(item.problem.id, item.prompt_ids, tuple(range(GROUP))) for item in chosen]
        completions = engine.generate(requests, Sampling(1.0, NEW_TOKENS), NoiseStream(0, "rollout", step))
        rewards_PG = rewards(chosen, completions)
        batch = assemble(completions, group_advantages(rewards_PG).reshape(-1), NEW_TOKENS)
        learner.begin_step(step, batch)
        rule.update(learner, batch)
        learner.end_step()
    return time.perf_counter() - started


def rewards(chosen: list[EncodedProblem], completions: list[Completion]) -> torch.Tensor:
    owners = [item.problem for item in chosen for _ in range(GROUP)]
    grades = [TASK.grade(problem, completion) for problem, completion in zip(owners, completions, strict=True)]
    return torch.tensor([grade.reward for grade in grades]).view(-1, GROUP)


def reference(passes: int, alpha: float, schedule: ProblemSchedule, steps: int) -> float:
    """Seconds of `steps` steps written plainly; `passes` - 1 fast passes, reposition by `alpha`, one slow pass."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER).eval(), AutoTokenizer.from_pretrained(FOLDER)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    started = time.perf_counter()
    for step in range(1, steps + 1):
        torch.manual_seed(step)
        chosen = schedule.at(step)
        prompts = torch.tensor([item.prompt_ids for item in chosen]).repeat_interleave(GROUP, dim=0)
        with torch.no_grad():
            ids = model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=True,
                top_k=0,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=0,
                eos_token_id=1,
            )
        start = prompts.shape[1]
        mask = (ids[:, start:] != 0).float()
        texts = tokenizer.batch_decode(ids[:, start:], skip_special_tokens=True)
        completions = [
            Completion("", 0, (), (), (), text, FinishReason.stopped if 1 in row else FinishReason.truncated)
            for text, row in zip(texts, ids[:, start:].tolist(), strict=True)
        ]
        rewards_PG = rewards(chosen, completions)
        advantages = ((rewards_PG - rewards_PG.mean(1, keepdim=True)) / (rewards_PG.std(1, keepdim=True) + 1e-6)).view(
            -1, 1
        )
        anchor = [parameter.detach().clone() for parameter in model.parameters()]
        old = None
        for number in range(passes):
            if number == passes - 1 and passes > 1:
                with torch.no_grad():
                    for parameter, value in zip(model.parameters(), anchor, strict=True):
                        parameter.copy_(value + alpha * (parameter - value))
            logits = model(ids).logits[:, start - 1 : -1].float()
            log_probs = logits.log_softmax(-1).gather(2, ids[:, start:, None])[..., 0]
            old = log_probs.detach() if old is None else old
            ratio = (log_probs - old).exp()
            token = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
            loss = ((token * mask).sum(1) / mask.sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return time.perf_counter() - started


def main(steps: int, rounds: int) -> None:
    torch.set_num_threads(1)
    schedule = problems()
    print(
        f"{steps} steps of {PROMPTS} x {GROUP} responses, one thread, {rounds} rounds in turn; seconds: least, median"
    )
    for name, rule, passes in (("GRPO", OnePass(), 1), ("SFPO", SlowFast(), 4)):
        pairs = [(ours(rule, schedule, steps), reference(passes, 0.8, schedule, steps)) for _ in range(rounds)]
        mine, plain = (sorted(pair[side] for pair in pairs) for side in (0, 1))
        ratio = sorted(a / b for a, b in pairs)[rounds // 2]
        print(
            f"{name}: ours {mine[0]:.2f}, {mine[rounds // 2]:.2f}; reference {plain[0]:.2f}, {plain[rounds // 2]:.2f}; "
            f"ours / reference {ratio:.2f} (median of pairs)"
        )


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [60, 3][len(arguments) :]))
