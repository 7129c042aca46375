"""One process of a run in several: python -m tests.training.ranks_worker RANK PROCESSES FOLDER.

Every case is learned over all ranks; each rank leaves what it found in FOLDER/found-RANK.pt.
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.debug import CommDebugMode
from transformers import PreTrainedModel

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.gradient_triggers import GradientNormWindow
from sfpo_bench.algorithms.gxpo import Gxpo
from sfpo_bench.algorithms.masks.critic_spread import CriticSpread
from sfpo_bench.algorithms.objectives import Clipped, Normalization
from sfpo_bench.algorithms.objectives.dpo import Dpo
from sfpo_bench.algorithms.penalties.spread_entropy import SpreadEntropy
from sfpo_bench.algorithms.protocols import Moments, Objective, Reference, UpdateRule
from sfpo_bench.algorithms.recorded import StepQuantity
from sfpo_bench.algorithms.references import SoftReference, StartReference
from sfpo_bench.algorithms.triggers import EntropyZScore, Trigger
from sfpo_bench.algorithms.update_rules import OnePass, Repeat, SlowFast
from sfpo_bench.core.metric_keys import is_timed
from sfpo_bench.core.types import StageStats
from sfpo_bench.models.lora import adapt
from sfpo_bench.settings.training import LearnerSettings, OptimizerKind
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.learner import LocalLearner, StepReadings
from sfpo_bench.training.process_group import ProcessRanks
from sfpo_bench.training.ranks import Ranks
from tests.training.adaptive_bound import AdaptiveBound
from tests.training.policies import batch, policy
from tests.training.test_modules import Halves, modules, train

SGD: dict[str, Any] = {"learning_rate": 0.5, "optimizer": OptimizerKind.sgd, "gradient_clip_norm": 0.0}
ADAMW: dict[str, Any] = {"learning_rate": 5e-3}
SPREAD = Clipped(mask=CriticSpread(lowest=0.3), penalty=SpreadEntropy(coefficient=0.05, highest=0.3))
STEPS = 3


@dataclass(frozen=True)
class Case:
    """A rule on three batches: unequal lengths, a silent group; `signal_rows` >= 0: only so many rows have a signal
    from the second batch on. `weighted`: a selection weights rows, drops some, and all of the last mini-batch.
    `brought`: some rows bring the log-probs that they were sampled with; `scored`: two critics have values."""

    rule: UpdateRule
    settings: Mapping[str, Any] = field(default_factory=lambda: SGD)
    objective: Objective = field(default_factory=Clipped)
    dtype: torch.dtype = torch.float64
    signal_rows: int = -1
    lora_rank: int = 0
    weighted: bool = False
    scored: bool = False
    brought: bool = False
    reference: Reference = field(default_factory=StartReference)


@dataclass(frozen=True)
class Found:
    """What a rank knows after a case; `weights` are whole."""

    weights: dict[str, Tensor]
    stages: list[list[dict[str, Any]]]
    readings: list[dict[str, Any]]
    rule: dict[str, Any]
    reposition_collectives: int


def cases() -> dict[str, Case]:
    two_mini_batches = {**SGD, "learning_rate": 0.1, "mini_batches": 2}
    every_term = Clipped(kl_coefficient=0.1, entropy_coefficient=0.01, normalization=Normalization.token_mean)
    return {
        "one pass": Case(OnePass()),
        "small micro-batches": Case(SlowFast(fast_passes=2), {**SGD, "micro_batch_tokens": 24}),
        "one row with a signal": Case(SlowFast(fast_passes=2), signal_rows=1),
        "no signal": Case(OnePass(), ADAMW, signal_rows=0),
        "mini-batches": Case(SlowFast(fast_passes=2, trigger=EntropyZScore(window=3)), two_mini_batches),
        "a reference that follows": Case(
            Repeat(passes=2), SGD, Clipped(kl_coefficient=0.1), reference=SoftReference(mixing=0.3, every_steps=1)
        ),
        "extrapolated": Case(Gxpo(trigger=GradientNormWindow(window=2)), two_mini_batches),
        "extrapolated, state put back": Case(Gxpo(moments=Moments.restore, trigger=Trigger()), ADAMW),
        "extrapolated by the optimizer's steps": Case(
            Gxpo(ratio=StepQuantity.optimizer_step, moments=Moments.restore, trigger=Trigger()), ADAMW
        ),
        "every term": Case(Repeat(passes=2), SGD, every_term),
        "spread of critics": Case(Repeat(passes=2), two_mini_batches, SPREAD, scored=True),
        "pairs": Case(SlowFast(fast_passes=2), {**two_mini_batches, "micro_batch_tokens": 24}, Dpo(beta=0.5)),
        "statistics of the mini-batch": Case(Repeat(passes=3), two_mini_batches, AdaptiveBound()),
        "weighted rows": Case(Repeat(passes=2), two_mini_batches, AdaptiveBound(), weighted=True),
        "rows of earlier steps": Case(Repeat(passes=2), {**two_mini_batches, "micro_batch_tokens": 24}, brought=True),
        "blocks": Case(OnePass(), SGD, Clipped(normalization=Normalization.block_token_mean)),
        "rejection": Case(OnePass(), {**SGD, "engine_correction": Correction.reject, "engine_correction_cap": 1e9}),
        "recomputed layers": Case(SlowFast(fast_passes=2), {**SGD, "recompute_layers": True, "anchor_on_host": True}),
        "moments": Case(SlowFast(fast_passes=2, moments=Moments.interpolate), ADAMW),
        **({"adapters": Case(SlowFast(fast_passes=2), ADAMW, lora_rank=2)} if find_spec("peft") else {}),
        "adamw in fp32": Case(SlowFast(fast_passes=2), ADAMW, dtype=torch.float32),
        "bf16": Case(SlowFast(fast_passes=2), ADAMW, dtype=torch.bfloat16),
    }


def model_of(case: Case) -> PreTrainedModel:
    model = policy(dtype=case.dtype)
    if case.lora_rank:
        adapt(model, case.lora_rank, 0)
    return model


def data(case: Case, step: int) -> TrainBatch:
    found = batch(4, seed=step)
    if case.weighted:
        weights = [1.0, 0.0, 2.0, 0.5, 0.0, 1.0, 1.0, 3.0]
        found = replace(found, row_weights_B=torch.tensor([*weights, *[0.0] * 8], dtype=torch.float64))
    if case.brought:
        old_BT = torch.full(found.responses_BT.shape, math.nan, dtype=torch.float64)
        old_BT[[1, 4, 7, 14]] = -2.5
        found = replace(found, old_log_probs_BT=old_BT.masked_fill(~found.response_mask_BT(), math.nan))
    if case.scored:
        source, shape = torch.Generator().manual_seed(step), found.responses_BT.shape
        scores = {f"critic_{n}": torch.randn(shape, generator=source, dtype=torch.float64) for n in (1, 2)}
        found = replace(found, scores=scores)
    if case.signal_rows < 0 or step == 1:
        return found
    advantages_BT = torch.zeros_like(found.advantages_BT)
    advantages_BT[5 : 5 + case.signal_rows] = 1.0
    return replace(found, advantages_BT=advantages_BT)


def learn(case: Case, ranks: Ranks) -> Found:
    settings, reference = LearnerSettings(**case.settings), case.reference
    learner = LocalLearner(model_of(case), case.objective, settings, 1.0, ranks, reference=reference)
    stages: list[tuple[StageStats, ...]] = []
    readings: list[StepReadings] = []
    counter = _Counter(learner)
    for step in range(1, STEPS + 1):
        rows = data(case, step)
        learner.begin_step(step, rows)
        stages.append(case.rule.update(learner, rows))
        readings.append(learner.end_step())
        case.rule.observe(step, readings[-1].entropy)
    return Found(
        {name: _whole(master) for name, master in learner.masters.masters.items()},
        [[_untimed(asdict(stage)) for stage in step] for step in stages],
        [_untimed(asdict(one)) for one in readings],
        dict(case.rule.state()),
        counter.collectives,
    )


class _Counter:
    """Counts the collectives of every snapshot and reposition."""

    def __init__(self, learner: LocalLearner) -> None:
        self.collectives = 0
        for verb in ("snapshot", "reposition"):
            setattr(learner.masters, verb, self._counting(getattr(learner.masters, verb)))

    def _counting(self, verb: Any) -> Any:
        def counted(*arguments: Any) -> None:
            with CommDebugMode() as mode:
                verb(*arguments)
            self.collectives += mode.get_total_counts()

        return counted


def _whole(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()


def _untimed(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not is_timed(name)}


def learned_critics(ranks: Ranks) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Whole weights of two critics on halves of each prompt's responses after some steps, and what each measured."""
    trained = modules(Halves(), ranks=ranks, **{**SGD, "learning_rate": 1e-2}, micro_batch_tokens=24)
    measured = train(trained)
    every = {f"{part}/{name}": w for part, found in trained.tensors().items() for name, w in found.items()}
    return {name: _whole(weight) for name, weight in every.items()}, measured


def main(rank: int, processes: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    found = {name: asdict(learn(case, ProcessRanks())) for name, case in cases().items()}
    torch.save(found, folder / f"found-{rank}.pt")
    torch.save(learned_critics(ProcessRanks()), folder / f"critics-{rank}.pt")
    del found
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
