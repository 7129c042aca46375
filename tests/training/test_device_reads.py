"""How often a step makes the host wait for the device, and copies to it: not more with more micro-batches or rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.protocols import Objective, UpdateRule
from sfpo_bench.algorithms.references import SoftReference
from sfpo_bench.algorithms.update_rules import OnePass, SlowFast
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.learner import LocalLearner
from tests.methods.members import objectives
from tests.methods.test_objectives import refused, with_added_terms
from tests.training.imagined_device import ImaginedDevice
from tests.training.policies import batch, policy

# Groups, and tokens of a micro-batch: one micro-batch, several, and several times as many.
SIZES = ((4, 10_000), (4, 24), (12, 24))
SFPO = SlowFast(fast_passes=3, alpha=0.8)


def scored(groups: int) -> TrainBatch:
    """A batch with what objectives look at: scores of two modules, and log-probs of an engine that differ."""
    data = batch(groups, seed=groups)
    source = torch.Generator().manual_seed(groups)

    def draw() -> Tensor:
        values_BT = torch.randn(data.responses_BT.shape, generator=source, dtype=torch.float64)
        return values_BT.masked_fill(~data.response_mask_BT(), 0.0)

    return replace(data, scores={"first": draw(), "second": draw()}, engine_log_probs_BT=-1 + 0.1 * draw())


def seen(
    monkeypatch: pytest.MonkeyPatch, rule: UpdateRule, objective: Objective, size: tuple[int, int], **settings: Any
) -> ImaginedDevice:
    """What the second of two steps read, copied and mixed."""
    (groups, micro_batch_tokens), model, device = size, policy(), ImaginedDevice()
    with device.watching(model, monkeypatch):
        made = LocalLearner(
            model, objective, LearnerSettings(micro_batch_tokens=micro_batch_tokens, **settings), 1.0,
            reference=SoftReference() if objective.uses_reference else None,
        )  # fmt: skip
        for step in (1, 2):
            device.reads, device.copies = Counter(), Counter()
            data = scored(groups)
            made.begin_step(step, data)
            rule.update(made, data)
            made.end_step()
    return device


def check_constant(found: Sequence[ImaginedDevice]) -> ImaginedDevice:
    """That reads and copies are the same for every size, and nothing was computed across devices."""
    assert not [one.mixed for one in found if one.mixed]
    assert all(one.reads == found[0].reads for one in found), [dict(one.reads) for one in found]
    assert all(one.copies == found[0].copies for one in found), [dict(one.copies) for one in found]
    return found[0]


@pytest.mark.parametrize(("rule", "reads"), [(OnePass(), 6), (SFPO, 16)], ids=["GRPO", "SFPO"])
def test_the_published_methods_read_a_small_constant(
    rule: UpdateRule, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = check_constant([seen(monkeypatch, rule, Clipped(), size) for size in SIZES])
    assert one.reads.total() == reads
    # Four kinds of numbers for rows that need a gradient and for those that do not, in each pass, and two more a step.
    assert one.copies.total() <= 8 * (1 if reads == 6 else 4) + 2


LEARNERS: dict[str, dict[str, Any]] = {
    "two mini-batches": {"mini_batches": 2},
    "engine correction": {"engine_correction": Correction.truncate},
    "engine correction by response": {"engine_correction": Correction.reject},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_so_do_mini_batches_and_corrections(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_constant([seen(monkeypatch, SFPO, Clipped(kl_coefficient=0.1), size, **LEARNERS[name]) for size in SIZES])


@pytest.mark.slow
@pytest.mark.parametrize("name", objectives())
def test_so_does_every_objective(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """BAPO reads once for each range that it tries, so with other rows it may read more or less often."""
    objective = with_added_terms(objectives()[name])
    sizes = SIZES[:2] if name.startswith("bapo") else SIZES[1:]
    if not refused(objective):
        check_constant([seen(monkeypatch, OnePass(), objective, size) for size in sizes])


def test_the_imagined_device_notices_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    device, model = ImaginedDevice(), policy()
    weight, here = model.get_input_embeddings().weight, torch.ones(16, dtype=torch.float64)
    with device.watching(model, monkeypatch):
        assert isinstance(weight, Tensor)
        float(weight.detach().sum()), weight[0].tolist(), (weight > 0).nonzero(), weight[0][weight[0] > 0]
        assert device.reads == {"_local_scalar_dense": 1, "tolist": 1, "nonzero": 1, "index": 1}
        weight.detach()[0] + here
        assert len(device.mixed) == 1
        torch.zeros_like(weight.detach()[0]).copy_(here)
        assert device.copies == {"copy_": 1}
