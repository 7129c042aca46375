"""With `learner.precision=float64` no narrower number enters: a whole step, from sampling to weights, is a loop's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose
from torch import Tensor
from transformers import PreTrainedModel

from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.types import Completion, FinishReason, StageStats, StepRecord
from sfpo_bench.models import load as models
from sfpo_bench.models.lora import adapt, merged
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings.config import from_node
from sfpo_bench.settings.models import EmbeddedModel
from sfpo_bench.settings.training import Precision
from sfpo_bench.training import trainer as training
from sfpo_bench.training.build import Hooks, build_trainer
from tests.extras import needs
from tests.training.policies import make_norms_exact, policy

FAST, ALPHA, RATE, CLIP, KL, ENTROPY, WRONG, NORM = 2, 0.7, 3e-3, 0.1, 0.05, 0.01, 0.1, 0.5
BETAS, EPS, DECAY = (0.9, 0.99), 1e-8, 0.1
GROUP = 6
SETTINGS = (
    *("experiment=arithmetic", "algorithm=sfpo", "learner.precision=float64", "device=cpu", "training.steps=1"),
    *(f"algorithm.update_rule.fast_passes={FAST}", f"algorithm.update_rule.alpha={ALPHA}"),
    *(f"algorithm.objective.clip_low={CLIP}", f"algorithm.objective.clip_high={CLIP}"),
    *(f"algorithm.objective.kl_coefficient={KL}", f"algorithm.objective.entropy_coefficient={ENTROPY}"),
    *(f"learner.learning_rate={RATE}", f"learner.beta1={BETAS[0]}", f"learner.beta2={BETAS[1]}"),
    *(f"learner.eps={EPS}", f"learner.weight_decay={DECAY}", f"learner.gradient_clip_norm={NORM}"),
    *("learner.engine_correction=truncate", "learner.micro_batch_tokens=64"),
    *(f"training.wrong_answer_reward={WRONG}", "rollout.prompts=3", f"rollout.group={GROUP}"),
    *("evaluation.responses=8", "evaluation.select_responses=0", "evaluation.greedy_problems=0"),
)


pytestmark = pytest.mark.usefixtures("hydra")


def exact_policy(*_: object) -> models.Policy:
    """The embedded model in float64, with norms of its own precision: those of transformers are fp32 always."""
    found = LOAD(EmbeddedModel(), Precision.float64, "cpu")
    make_norms_exact(found.model)
    return found


LOAD = models.load


@dataclass
class Step:
    """What a run of one step left."""

    weights: dict[str, Tensor]
    completions: Sequence[Completion] = ()
    records: list[StepRecord] = field(default_factory=list)


def one_step(folder: Path, patch: pytest.MonkeyPatch) -> Step:
    patch.setattr(models, "load", exact_policy)
    found = Step({})

    def assemble(completions: Sequence[Completion], *rest: Any) -> Any:
        found.completions = found.completions or completions
        return original(completions, *rest)

    original = training.assemble  # type: ignore[attr-defined]  # what the trainer imported
    patch.setattr(training, "assemble", assemble)
    hooks = Hooks(observe=lambda record: found.records.append(record) if isinstance(record, StepRecord) else None)
    trainer = build_trainer(from_node(compose("train", list(SETTINGS))), RunFolder(folder), StopRequest(), hooks)
    trainer.run()
    found.weights = {name: weight.detach().clone() for name, weight in trainer._parts.learner.masters.masters.items()}
    return found


def log_probs(model: PreTrainedModel, completion: Completion) -> tuple[Tensor, Tensor]:
    """Log-prob of each response token, and the entropy before it, of one unpadded row."""
    ids = torch.tensor([[*completion.prompt_ids, *completion.response_ids]])
    places = range(len(completion.prompt_ids) - 1, ids.shape[1] - 1)
    table = model(input_ids=ids, use_cache=False).logits[0, places].log_softmax(dim=-1)
    return table[range(len(places)), list(completion.response_ids)], -(table.exp() * table).sum(dim=-1)


def reward(completion: Completion) -> float:
    if completion.finish_reason is not FinishReason.stopped:
        return 0.0
    question, answer = completion.problem_id.split("/")[1], completion.text.rsplit("=", 1)[-1].strip()
    return 1.0 if answer == str(eval(question)) else WRONG if answer else 0.0  # our own digits and signs


class Loop:
    """SFPO, GRPO's objective and AdamW written out, a row at a time."""

    def __init__(self, completions: Sequence[Completion]) -> None:
        self.model = exact_policy().model.eval()
        self.rows = completions
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = 0
        with torch.no_grad():
            self.old = [log_probs(self.model, row)[0] for row in completions]
        rewards = [reward(row) for row in completions]
        groups = [rewards[start : start + GROUP] for start in range(0, len(rewards), GROUP)]
        assert len({len(set(group)) for group in groups}) > 1 or len(set(groups[0])) > 1, "some group has a signal"
        self.advantages = [
            (r - statistics.fmean(group)) / (statistics.stdev(group) + 1e-6) if len(set(group)) > 1 else 0.0
            for group in groups
            for r in group
        ]

    def gradient(self) -> StageStats:
        for parameter in self.parameters:
            parameter.grad = None
        loss, ratios, kls, entropies, clipped = 0.0, [], [], [], 0
        for row, old, advantage in zip(self.rows, self.old, self.advantages, strict=True):
            new, entropy = log_probs(self.model, row)
            ratio = (new - old).exp()
            weight = (old - torch.tensor(row.log_probs, dtype=torch.float64)).exp().clamp(max=2.0)
            plain, cut = ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage
            drift = (old - new).exp() - (old - new) - 1
            tokens = -torch.minimum(plain, cut) * weight + KL * drift - ENTROPY * entropy
            share = tokens.mean() / len(self.rows)
            share.backward()
            loss += float(share.detach())
            clipped += int((cut < plain).sum())
            ratios += ratio.tolist()
            kls += ((new - old).exp() - (new - old) - 1).tolist()
            entropies += entropy.tolist()
        norm = math.sqrt(math.fsum(float((p.grad**2).sum()) for p in self.parameters if p.grad is not None))
        mean = statistics.fmean
        return StageStats(
            "", loss, clipped / len(ratios), mean(ratios), max(ratios), mean(kls), norm, mean(entropies), 1, 0, 0.0
        )

    @torch.no_grad()
    def move(self, norm: float) -> None:
        self.steps += 1
        scale = min(1.0, NORM / (norm + 1e-6))
        for p, first, second in zip(self.parameters, self.first, self.second, strict=True):
            assert p.grad is not None
            first.mul_(BETAS[0]).add_((1 - BETAS[0]) * scale * p.grad)
            second.mul_(BETAS[1]).add_((1 - BETAS[1]) * (scale * p.grad) ** 2)
            mean, square = first / (1 - BETAS[0] ** self.steps), second / (1 - BETAS[1] ** self.steps)
            p.mul_(1 - RATE * DECAY).sub_(RATE * mean / (square.sqrt() + EPS))

    def sfpo(self) -> list[StageStats]:
        start = [p.detach().clone() for p in self.parameters]
        stages = []
        for number in range(FAST + 1):
            stages.append(self.gradient())
            self.move(stages[-1].gradient_norm)
            if number == FAST - 1:
                with torch.no_grad():
                    for p, anchor in zip(self.parameters, start, strict=True):
                        p.copy_(anchor + ALPHA * (p - anchor))
        return stages


def test_a_whole_step_in_float64_is_the_loop_to_1e_12(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewards that no binary number holds, advantages, log-probs, engine weights, ratios, KL, entropy, AdamW, SFPO."""
    step = one_step(tmp_path / "run", monkeypatch)
    loop = Loop(step.completions)
    engine = [value for row in step.completions for value in row.log_probs]
    trainer = [value for row in loop.old for value in row.tolist()]
    assert engine == pytest.approx(trainer, rel=1e-12, abs=1e-13), "sampled in float64"
    stages = loop.sfpo()
    [record] = step.records
    metrics = record.metrics
    assert metrics["engine_ratio_max"] == pytest.approx(1.0, abs=1e-12)
    assert metrics["entropy"] == pytest.approx(stages[0].entropy, rel=1e-12)
    for ours, expected in zip(record.stages, stages, strict=True):
        for name in ("loss", "ratio_mean", "ratio_max", "gradient_norm", "entropy", "clip_fraction"):
            assert getattr(ours, name) == pytest.approx(getattr(expected, name), rel=1e-11, abs=1e-13), name
        assert ours.kl_to_start == pytest.approx(expected.kl_to_start, abs=1e-13)
    assert any(0 < stage.clip_fraction < 1 for stage in stages) and stages[-1].kl_to_start > 1e-6
    for (name, weight), parameter in zip(step.weights.items(), loop.parameters, strict=True):
        assert weight.dtype == torch.float64
        assert torch.allclose(weight, parameter, rtol=0, atol=1e-12), name


def test_an_adapter_in_float64_is_merged_in_float64() -> None:
    needs("peft")
    model = policy(dtype=torch.float64)
    adapt(model, 2, seed=0)
    source = torch.Generator().manual_seed(0)
    weights = {}
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            assert parameter.dtype == torch.float64, "the adapter is as wide as its model"
            parameter.data = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
        weights[name] = parameter
    ids = torch.tensor([[3, 4, 5, 6]])
    expected = model(input_ids=ids).logits
    plain = policy(dtype=torch.float64)
    found = merged(weights)
    for name, parameter in plain.named_parameters():
        parameter.data = found[name].data
    assert torch.allclose(plain(input_ids=ids).logits, expected, rtol=1e-11, atol=1e-11)
