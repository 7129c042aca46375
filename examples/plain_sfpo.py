"""GRPO (arXiv:2402.03300) and SFPO (arXiv:2510.04072), whole, on one page of plain torch.

    python examples/plain_sfpo.py sfpo        # or grpo; prints a line a step, finishes in about a minute

A character model of 108,224 parameters learns to write `7*8-35=56-35=21`. One training step, from weights theta_0:

    roll out      G responses to each of P problems
    grade         reward r = 1 for the right answer, else 0
    advantage     A = (r - mean of its group) / std of its group
    fast          K passes over this one batch:  theta_k+1 = theta_k - step along the gradient at theta_k
    reposition    back towards the start:        theta = theta_0 + alpha * (theta_K - theta_0)
    slow          one more pass, taken there
    trigger       once the entropy of the policy leaves its recent range: no fast passes from the next step on

GRPO is the same step with K = 0. `sfpo-bench train` takes the same steps (tests/test_plain_sfpo.py) and adds what a
page cannot hold: resuming, many devices, large models, other methods, fair comparisons.

Shapes: P problems, G responses to each, B = P * G; L prompt tokens, T response tokens, S = L + T; V vocabulary.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from sfpo_bench.core.seeding import generator, stream_key, uniforms
from sfpo_bench.core.types import Completion, FinishReason, Problem, Split
from sfpo_bench.models.load import load
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.settings.models import EmbeddedModel
from sfpo_bench.settings.training import Precision


@dataclass(frozen=True, slots=True)
class Settings:
    """A method, and the sizes of its run."""

    fast_passes: int  # K; 0 is GRPO
    learning_rate: float  # each method has its own best one
    alpha: float = 0.8
    window: int = 30  # entropies that the trigger compares, the present one included
    threshold: float = 1.0  # standard deviations above their mean at which it fires
    clip: float = 0.2
    problems: int = 32  # P
    group: int = 8  # G
    max_new_tokens: int = 12  # T
    evaluated_problems: int = 768
    seed: int = 0


METHODS = {"grpo": Settings(fast_passes=0, learning_rate=4e-4), "sfpo": Settings(fast_passes=3, learning_rate=2e-4)}
TASK, TOKENIZER = Arithmetic(), load(EmbeddedModel(), Precision.float32, "cpu").tokenizer


class Batch(NamedTuple):
    """One step's graded responses; `counts_BT` marks the real ones among the response tokens."""

    ids_BS: Tensor
    counts_BT: Tensor
    rewards_PG: Tensor


@torch.no_grad()
def roll_out(policy: PreTrainedModel, problems: list[Problem], group: int, run: Settings, *step: str | int) -> Batch:
    """`group` responses to each problem, graded; `step` names the noise they are drawn with."""
    prompts = TOKENIZER([f"{problem.text}=" for problem in problems])["input_ids"]  # all of one length: no padding
    ids_BS = torch.tensor(prompts).repeat_interleave(group, dim=0)
    # Noise is a function of names: a response depends on its own and never on what else is in the batch.
    keys = [stream_key(run.seed, *step, problem.id, sample) for problem in problems for sample in range(group)]
    draws_BT = torch.from_numpy(uniforms(keys, run.max_new_tokens))
    for t in range(run.max_new_tokens):
        cumulative_BV = policy(input_ids=ids_BS).logits[:, -1].softmax(-1).double().cumsum(-1)
        tokens_B1 = torch.searchsorted(cumulative_BV, draws_BT[:, t : t + 1] * cumulative_BV[:, -1:], right=True)
        ids_BS = torch.cat([ids_BS, tokens_B1], dim=1)
    responses_BT = ids_BS[:, len(prompts[0]) :]
    ends_BT = (responses_BT == TOKENIZER.eos_token_id).long()
    counts_BT = ends_BT.cumsum(1) - ends_BT == 0  # up to the first end of sequence, that token included
    rewards = [grade(problems[b // group], responses_BT[b][counts_BT[b]].tolist()) for b in range(len(responses_BT))]
    return Batch(ids_BS, counts_BT, torch.tensor(rewards, dtype=torch.float64).view(len(problems), group))


def grade(problem: Problem, response: list[int]) -> float:
    """1 for the right answer in a response that ended by itself, else 0."""
    finish = FinishReason.stopped if response[-1] == TOKENIZER.eos_token_id else FinishReason.truncated
    text = str(TOKENIZER.decode(response, skip_special_tokens=True))
    return TASK.grade(problem, Completion(problem.id, 0, (), tuple(response), (), text, finish)).reward


def advantages(rewards_PG: Tensor) -> Tensor:
    """(r - mean) / std of each group, [P, G]; a group of equal rewards gets zeros: it carries no signal."""
    return (rewards_PG - rewards_PG.mean(1, keepdim=True)) / (rewards_PG.std(1, keepdim=True) + 1e-6)


def score(policy: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probs of the response tokens and entropies of the distributions they come from, both [B, T]."""
    tokens = batch.counts_BT.shape[1]
    log_p_BTV = policy(input_ids=batch.ids_BS).logits[:, -tokens - 1 : -1].log_softmax(-1)  # each predicts the next
    log_probs_BT = log_p_BTV.gather(-1, batch.ids_BS[:, -tokens:, None])[..., 0]
    return log_probs_BT, -(log_p_BTV.exp() * log_p_BTV).sum(-1)


def one_pass(policy: PreTrainedModel, optimizer: Optimizer, batch: Batch, old_BT: Tensor, clip: float) -> float:
    """Takes one optimizer step down the clipped loss, which it returns."""
    A_B1 = advantages(batch.rewards_PG).reshape(-1, 1).to(policy.dtype)
    ratio_BT = (score(policy, batch)[0] - old_BT).exp()
    surrogate_BT = torch.minimum(ratio_BT * A_B1, ratio_BT.clamp(1 - clip, 1 + clip) * A_B1)
    # The mean over the tokens of each response, then over responses.
    loss = -((surrogate_BT * batch.counts_BT).sum(1) / batch.counts_BT.sum(1)).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def update(
    policy: PreTrainedModel, optimizer: Optimizer, batch: Batch, old_BT: Tensor, K: int, run: Settings
) -> list[float]:
    """Takes the weights from theta_0 to those of the next step; returns the loss of each pass."""
    theta_0 = [theta.detach().clone() for theta in policy.parameters()]
    fast = [one_pass(policy, optimizer, batch, old_BT, run.clip) for _ in range(K)]
    if K > 0:  # reposition; Adam's moments stay as the fast passes left them
        for theta, start in zip(policy.parameters(), theta_0, strict=True):
            theta.data.copy_(torch.lerp(start, theta.data, run.alpha))
    return [*fast, one_pass(policy, optimizer, batch, old_BT, run.clip)]


def train(policy: PreTrainedModel, run: Settings) -> Iterator[tuple[Tensor, list[float], float]]:
    """Takes a training step each time it is asked for one; yields its rewards [P, G], losses and entropy."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=run.learning_rate, weight_decay=0.0)
    every, entropies, K = TASK.problems(Split.train), list[float](), run.fast_passes
    order = torch.from_numpy(generator(run.seed, "problems", 0).permutation(len(every)))
    for step, places in enumerate(order.split(run.problems), start=1):
        batch = roll_out(policy, [every[i] for i in places], run.group, run, "rollout", step)
        with torch.no_grad():  # at theta_0, which sampled the batch: all passes measure their ratio against it
            old_BT, entropies_BT = score(policy, batch)
        entropy = float(entropies_BT[batch.counts_BT].mean())
        yield batch.rewards_PG, update(policy, optimizer, batch, old_BT, K, run), entropy
        entropies = [*entropies, entropy][-run.window :]
        z = (entropy - fmean(entropies)) / (pstdev(entropies) + 1e-9)
        if len(entropies) == run.window and z >= run.threshold:
            K = 0  # from the next step on, for good


def evaluate(policy: PreTrainedModel, run: Settings, step: int) -> float:
    """The share of right answers, one sampled to each of some held-out problems, which are always the same."""
    every = TASK.problems(Split.report)
    order = generator(0, "evaluation_problems", "report").permutation(len(every))[: run.evaluated_problems]
    rewards_PG = roll_out(policy, [every[i] for i in order], 1, run, "evaluate/report/sampled", step).rewards_PG
    return float(rewards_PG.mean())


if __name__ == "__main__":
    if sys.argv[1:] not in ([name] for name in METHODS):
        sys.exit(f"found {sys.argv[1:]}, expected one of {', '.join(METHODS)}: python examples/plain_sfpo.py sfpo")
    torch.set_num_threads(1)  # matrices this small gain nothing from more
    run, policy = METHODS[sys.argv[1]], load(EmbeddedModel(), Precision.float32, "cpu").model
    for step, (rewards_PG, losses, entropy) in zip(range(1, 61), train(policy, run), strict=False):
        accuracy = f"  accuracy {evaluate(policy, run, step):.3f}" if step % 4 == 0 else ""
        print(f"step {step}  passes {len(losses)}  reward {rewards_PG.mean():.3f}  entropy {entropy:.3f}{accuracy}")
