"""The learner: limits of the update rules bit for bit, and what must not change the result."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sfpo_bench.algorithms.objectives import Clipped, Normalization, k3
from sfpo_bench.algorithms.protocols import Moments, Objective, UpdateRule
from sfpo_bench.algorithms.triggers import EntropyZScore, FixedStep
from sfpo_bench.algorithms.update_rules import EntropySource, Lookahead, OnePass, Repeat, SlowFast, Unit
from sfpo_bench.core.errors import NonFiniteError
from sfpo_bench.core.types import StageStats
from sfpo_bench.settings.training import LearnerSettings, NonFinite, OptimizerKind
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.scoring import Scorer
from tests.training.policies import GROUP, batch, on_cpu, policy

ADAMW: dict[str, Any] = {"learning_rate": 5e-3}
SGD: dict[str, Any] = {"learning_rate": 0.5, "optimizer": OptimizerKind.sgd, "gradient_clip_norm": 0.0}


def learn(
    rule: UpdateRule,
    *,
    steps: int = 3,
    objective: Objective | None = None,
    model: PreTrainedModel | None = None,
    groups: int = 4,
    **settings: Any,
) -> tuple[dict[str, Tensor], list[tuple[StageStats, ...]]]:
    """Weights and stage statistics after some steps of `rule` on random batches."""
    model = policy() if model is None else model
    learner = LocalLearner(model, objective or Clipped(), LearnerSettings(**settings), 1.0)
    stages = []
    for step in range(1, steps + 1):
        data = batch(groups, seed=step)
        learner.begin_step(step, data)
        stages.append(rule.update(learner, data))
        rule.observe(step, learner.end_step().entropy)
    return {name: weight.detach().clone() for name, weight in learner.masters.masters.items()}, stages


def largest_difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(float((a[name].detach().double() - b[name].detach().double()).abs().max()) for name in a)


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


LAYOUTS: list[dict[str, Any]] = [{}, {"mini_batch_prompts": 2}, {"micro_batch_tokens": 24}]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("moments", [Moments.carry, Moments.interpolate])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_alpha_one_is_k_plus_one_passes_bit_for_bit(
    layout: dict[str, Any], moments: Moments, dtype: torch.dtype
) -> None:
    slow_fast, _ = learn(
        SlowFast(fast_passes=3, alpha=1.0, moments=moments), model=policy(dtype=dtype), **ADAMW, **layout
    )
    repeated, _ = learn(Repeat(passes=4), model=policy(dtype=dtype), **ADAMW, **layout)
    assert same_bits(slow_fast, repeated)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(
    "rule",
    [
        SlowFast(fast_passes=0),
        SlowFast(alpha=0.0),
        SlowFast(alpha=0.0, moments=Moments.restore),
        SlowFast(fast_passes=0, unit=Unit.optimizer_step),
        SlowFast(trigger=FixedStep(last_step=0)),
        Repeat(passes=1),
    ],
    ids=str,
)
def test_without_a_fast_stage_it_is_one_pass_bit_for_bit(rule: UpdateRule, layout: dict[str, Any]) -> None:
    assert same_bits(learn(rule, **ADAMW, **layout)[0], learn(OnePass(), **ADAMW, **layout)[0])


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 1.0, "sync_every": 1},
        {"alpha": 1.0, "sync_every": 2},
        {"alpha": 1.0, "sync_every": 2, "moments": Moments.interpolate},
        {"alpha": 0.0, "sync_every": 99},
    ],
    ids=str,
)
def test_lookahead_that_keeps_everything_is_one_pass_bit_for_bit(
    settings: dict[str, Any], layout: dict[str, Any]
) -> None:
    rule = Lookahead(**settings)
    assert same_bits(learn(rule, **ADAMW, **layout)[0], learn(OnePass(), **ADAMW, **layout)[0])


def test_lookahead_that_keeps_nothing_is_back_at_the_start_at_every_synchronisation() -> None:
    start: dict[str, Tensor] = {**dict(policy().named_parameters())}
    assert same_bits(learn(Lookahead(alpha=0.0, sync_every=2), steps=4, **ADAMW)[0], start)
    assert not same_bits(learn(Lookahead(alpha=0.0, sync_every=2), steps=3, **ADAMW)[0], start)


def test_a_kl_limit_ends_the_passes_after_the_first_that_met_a_drift() -> None:
    # The first forward of a step is at its start. With one mini-batch drift shows in the second pass, with two at once.
    rule = Repeat(passes=4, kl_limit=1e-300)
    one: dict[str, Any] = {**ADAMW, "mini_batch_prompts": 0}
    two: dict[str, Any] = {**ADAMW, "mini_batch_prompts": 2}
    assert same_bits(learn(rule, **one)[0], learn(Repeat(passes=2), **one)[0])
    assert same_bits(learn(rule, **two)[0], learn(OnePass(), **two)[0])


@pytest.mark.parametrize("kl_limit", [0.0, 1e9])
def test_a_kl_limit_that_is_off_or_never_met_changes_nothing(kl_limit: float) -> None:
    limited, _ = learn(Repeat(passes=3, kl_limit=kl_limit), **ADAMW)
    assert same_bits(limited, learn(Repeat(passes=3), **ADAMW)[0])


def test_the_passes_before_the_last_one_were_within_the_kl_limit() -> None:
    _, stages = learn(Repeat(passes=8, kl_limit=1e-4), steps=1, **ADAMW)
    drifts = [stage.kl_to_start for stage in stages[0]]
    assert 1 < len(drifts) < 8 and drifts[-1] > 1e-4 and all(drift <= 1e-4 for drift in drifts[:-1])


@pytest.mark.parametrize("watched", list(EntropySource))
def test_the_trigger_watches_the_entropy_it_is_set_to(watched: EntropySource) -> None:
    rule = SlowFast(trigger=EntropyZScore(window=9), trigger_entropy=watched)
    _, stages = learn(rule, **ADAMW)
    of_stage = 0 if watched is EntropySource.start else -1  # the first fast pass runs at the start
    assert rule.state()["entropies"] == pytest.approx([step[of_stage].entropy for step in stages], abs=1e-12)
    assert stages[-1][0].entropy != pytest.approx(stages[-1][-1].entropy, abs=1e-6)


def test_what_the_slow_pass_meets_is_watched_after_the_fast_stage_is_over_too() -> None:
    rule = SlowFast(fast_passes=0, trigger=EntropyZScore(window=9), trigger_entropy=EntropySource.slow_pass)
    _, stages = learn(rule, **ADAMW)
    assert rule.state()["entropies"] == [step[-1].entropy for step in stages]


def test_block_token_mean_is_the_mean_over_blocks_of_each_ones_token_mean() -> None:
    """The definition, on blocks of two groups: one SGD step is the mean of the steps on each block alone."""
    data, start = batch(4, seed=1), dict(policy().named_parameters())
    moved = []
    for rows in (torch.arange(16), torch.arange(8), torch.arange(8, 16)):
        normalization = Normalization.block_token_mean if len(rows) == 16 else Normalization.token_mean
        learner = LocalLearner(
            policy(), Clipped(normalization=normalization), LearnerSettings(**SGD, block_responses=8), 1.0
        )
        part = replace(data.select(rows), rows_B=torch.arange(len(rows)))
        learner.begin_step(1, part)
        learner.optimize(part, "pass_1")
        moved.append({name: weight.detach() - start[name] for name, weight in learner.masters.masters.items()})
    whole, first, second = moved
    assert largest_difference(whole, {name: (first[name] + second[name]) / 2 for name in first}) < 1e-12
    assert largest_difference(first, second) > 1e-4


@pytest.mark.parametrize(
    ("blocks", "limit"), [(1, Normalization.response_mean), (8, Normalization.token_mean)], ids=str
)
def test_blocks_are_counted_within_a_mini_batch_and_ignore_micro_batches(blocks: int, limit: Normalization) -> None:
    """Blocks of one response, and blocks of a whole mini-batch of two groups, are the two older means."""
    block_mean, plain = Clipped(normalization=Normalization.block_token_mean), Clipped(normalization=limit)
    expected, _ = learn(SlowFast(), objective=plain, steps=1, mini_batch_prompts=2, **SGD)
    for budget in (1, 17, 10**6):
        layout: dict[str, Any] = {"mini_batch_prompts": 2, "block_responses": blocks, "micro_batch_tokens": budget}
        assert (
            largest_difference(learn(SlowFast(), objective=block_mean, steps=1, **layout, **SGD)[0], expected) < 1e-10
        )


def test_mini_batches_by_number_are_those_by_prompts_bit_for_bit() -> None:
    by_number, stages = learn(SlowFast(), mini_batches=2, **ADAMW)
    by_prompts, _ = learn(SlowFast(), mini_batch_prompts=2, **ADAMW)
    assert same_bits(by_number, by_prompts)
    assert [stage.optimizer_steps for stage in stages[0]] == [2, 2, 2, 2]


def test_a_learning_rate_and_its_factor_multiply() -> None:
    doubled, _ = learn(OnePass(), learning_rate=5e-3, learning_rate_factor=2.0)
    assert same_bits(doubled, learn(OnePass(), learning_rate=1e-2)[0])


def test_reposition_changes_the_result_between_its_limits() -> None:
    ends = [learn(SlowFast(alpha=alpha), **ADAMW)[0] for alpha in (0.0, 0.5, 1.0)]
    assert min(largest_difference(ends[0], ends[1]), largest_difference(ends[1], ends[2])) > 1e-4


def test_restored_moments_with_alpha_towards_zero_approach_one_pass_and_carried_ones_do_not() -> None:
    base = learn(OnePass(), steps=2, **ADAMW)[0]
    restored = learn(SlowFast(alpha=1e-12, moments=Moments.restore), steps=2, **ADAMW)[0]
    carried = learn(SlowFast(alpha=1e-12, moments=Moments.carry), steps=2, **ADAMW)[0]
    assert largest_difference(restored, base) < 1e-9
    assert largest_difference(carried, base) > 1e-4


def test_the_units_of_a_pass_agree_when_there_is_one_mini_batch_and_differ_when_there_are_two() -> None:
    rules = [SlowFast(unit=unit) for unit in Unit]
    one = [learn(rule, **ADAMW)[0] for rule in rules]
    two = [learn(rule, **ADAMW, mini_batch_prompts=2)[0] for rule in rules]
    assert same_bits(one[0], one[1])
    assert largest_difference(two[0], two[1]) > 1e-4


@pytest.mark.parametrize("unit", list(Unit))
def test_a_step_of_sfpo_takes_k_plus_one_optimizer_steps_per_mini_batch(unit: Unit) -> None:
    _, stages = learn(SlowFast(fast_passes=3, unit=unit), steps=1, mini_batch_prompts=1, **ADAMW)
    assert [stage.stage for stage in stages[0]] == ["fast_1", "fast_2", "fast_3", "slow"]
    assert [stage.optimizer_steps for stage in stages[0]] == [4, 4, 4, 4]


@pytest.mark.parametrize("normalization", list(Normalization))
@pytest.mark.parametrize("rule", [OnePass(), SlowFast(), Repeat(passes=2)], ids=str)
def test_micro_batches_do_not_change_the_result(rule: UpdateRule, normalization: Normalization) -> None:
    """SGD, no clipping of gradients, float64, unequal lengths."""
    objective = Clipped(normalization=normalization, kl_coefficient=0.01, entropy_coefficient=0.01)
    whole, whole_stages = learn(rule, objective=objective, micro_batch_tokens=10**6, steps=2, **SGD)
    for budget in (1, 17):
        split, split_stages = learn(rule, objective=objective, micro_batch_tokens=budget, steps=2, **SGD)
        assert largest_difference(split, whole) < 1e-10
        for a, b in zip(split_stages[-1], whole_stages[-1], strict=True):
            assert (a.loss, a.clip_fraction, a.entropy) == pytest.approx(
                (b.loss, b.clip_fraction, b.entropy), abs=1e-10
            )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_computing_layers_again_changes_no_bit(dtype: torch.dtype) -> None:
    kept, _ = learn(SlowFast(), model=policy(dtype=dtype), steps=2, **ADAMW)
    again, _ = learn(SlowFast(), model=policy(dtype=dtype), steps=2, recompute_layers=True, **ADAMW)
    assert same_bits(kept, again)


@pytest.mark.parametrize("moments", list(Moments))
def test_an_anchor_on_the_host_changes_no_bit(moments: Moments) -> None:
    rule = SlowFast(moments=moments)
    assert same_bits(learn(rule, **ADAMW)[0], learn(rule, anchor_on_host=True, **ADAMW)[0])


def test_order_within_a_mini_batch_and_padding_do_not_change_the_result() -> None:
    ends = []
    for order in (torch.arange(16), torch.randperm(16, generator=torch.Generator().manual_seed(0))):
        data = batch(4, seed=1).select(order)
        data = replace(
            data,
            prompts_PL=torch.nn.functional.pad(data.prompts_PL, (0, 5), value=7),
            responses_BT=torch.nn.functional.pad(data.responses_BT, (0, 3), value=9),
            rows_B=torch.arange(16),
        )
        learner = LocalLearner(policy(), Clipped(), LearnerSettings(**SGD), 1.0)
        learner.begin_step(1, data)
        SlowFast().update(learner, data)
        ends.append({name: weight.detach().clone() for name, weight in learner.masters.masters.items()})
    assert largest_difference(ends[0], ends[1]) < 1e-12


class EveryRow(Clipped):
    """The same objective, claiming to need rows without advantage."""

    @property
    def needs_every_row(self) -> bool:
        return True


def test_skipping_rows_without_advantage_is_exact_and_statistics_still_cover_them() -> None:
    skipped, skipped_stages = learn(SlowFast(), groups=5, steps=2, **SGD)
    full, full_stages = learn(SlowFast(), objective=EveryRow(), groups=5, steps=2, **SGD)
    assert largest_difference(skipped, full) < 1e-12
    for a, b in zip(skipped_stages[-1], full_stages[-1], strict=True):
        for name in ("loss", "entropy", "ratio_mean", "ratio_max", "kl_to_start", "clip_fraction"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-10, abs=1e-12), name


def test_a_batch_without_signal_still_moves_the_weights_through_momentum() -> None:
    learner = LocalLearner(policy(), Clipped(), LearnerSettings(learning_rate=1e-2), 1.0)
    for step, silent in enumerate((0, 4), start=1):
        before = {name: weight.detach().clone() for name, weight in learner.masters.masters.items()}
        data = batch(4, seed=step, silent_groups=silent)
        learner.begin_step(step, data)
        stats = learner.optimize(data, "pass_1")
    assert stats.gradient_norm == 0.0 and stats.optimizer_steps == 1
    assert largest_difference(before, learner.masters.masters) > 1e-4


def test_in_the_first_pass_every_ratio_is_exactly_one_however_many_mini_batches_follow() -> None:
    for layout in LAYOUTS:
        _, stages = learn(Repeat(passes=2), **ADAMW, **layout)
        first = stages[-1][0]
        if "mini_batch_prompts" not in layout:
            assert (first.ratio_mean, first.ratio_max, first.kl_to_start, first.clip_fraction) == (1.0, 1.0, 0.0, 0.0)
        assert stages[-1][1].ratio_max > 1.0


def test_the_entropy_told_to_the_rule_is_that_of_the_starting_weights_over_the_whole_batch() -> None:
    readings = []
    for layout in LAYOUTS:
        model, data = policy(), batch(4, seed=9)
        with torch.no_grad():
            logits = model(input_ids=data.sequences_BS()).logits
        distribution = torch.distributions.Categorical(logits=logits)
        entropies = distribution.entropy()
        values = [
            entropies[row, int(p) - 1 + t]
            for row, (p, r) in enumerate(zip(data.prompt_tokens_P[data.owners_B], data.response_tokens_B, strict=True))
            for t in range(int(r))
        ]
        expected = float(torch.stack(values).mean())
        learner = LocalLearner(model, Clipped(), LearnerSettings(**ADAMW, **layout), 1.0)
        learner.begin_step(1, data)
        SlowFast().update(learner, data)
        readings.append(learner.end_step().entropy)
        assert readings[-1] == pytest.approx(expected, abs=1e-10)


def test_the_cosine_and_the_displacement_are_those_of_the_weights() -> None:
    model, data = policy(), batch(4, seed=1)
    flat = [torch.cat([p.detach().reshape(-1) for p in model.parameters()])]

    class Seen(LocalLearner):
        def optimize(self, batch: TrainBatch, stage: str) -> StageStats:
            if stage == "slow":
                self.read()
            stats = super().optimize(batch, stage)
            if stage in ("fast_2", "slow"):
                self.read()
            return stats

        def read(self) -> None:
            flat.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))

    learner = Seen(model, Clipped(), LearnerSettings(**ADAMW), 1.0)
    rule = SlowFast(fast_passes=2, alpha=0.6)
    learner.begin_step(1, data)
    stages = rule.update(learner, data)
    metrics = rule.metrics(stages)
    readings = learner.end_step()
    start, fast, moved, end = flat
    assert torch.allclose(moved, start + 0.6 * (fast - start), atol=1e-14)
    assert readings.displacement == pytest.approx(float((end - start).norm()), rel=1e-12)
    cosine = torch.nn.functional.cosine_similarity(fast - start, end - moved, dim=0)
    assert metrics["fast_slow_cosine"] == pytest.approx(float(cosine), rel=1e-9)
    assert metrics["fast_seconds"] == stages[0].seconds + stages[1].seconds
    assert "fast_slow_cosine" not in OnePass().metrics(()), "a rule without a fast stage has no such angle"


def test_warm_up_is_linear_and_ticks_once_a_training_step() -> None:
    learner = LocalLearner(policy(), Clipped(), LearnerSettings(learning_rate=0.4, warmup_steps=4), 1.0)
    rates = []
    for step in range(1, 7):
        data = batch(4, seed=step)
        learner.begin_step(step, data)
        SlowFast().update(learner, data)
        rates.append(learner.end_step().learning_rate)
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_a_phases_factor_multiplies_the_learning_rate_of_its_steps_alone() -> None:
    learner, data = LocalLearner(policy(), Clipped(), LearnerSettings(learning_rate=0.4), 1.0), batch(4)
    rates = []
    for step, factor in ((1, 1.0), (2, 0.5), (3, 1.0)):
        learner.begin_step(step, data, rate_factor=factor)
        OnePass().update(learner, data)
        rates.append(learner.end_step().learning_rate)
    assert rates == pytest.approx([0.4, 0.2, 0.4])


@pytest.mark.parametrize("layout", [{"mini_batch_prompts": 2}, {"mini_batches": 2}], ids=str)
def test_mini_batches_never_cut_a_group_however_many_responses_it_has(layout: dict[str, Any]) -> None:
    data = batch(4)
    kept = data.select(torch.arange(len(data))[torch.arange(len(data)) % GROUP != 1])
    kept = replace(kept, rows_B=torch.arange(len(kept)))  # groups of 3, not of GROUP
    learner = LocalLearner(policy(), Clipped(), LearnerSettings(**layout), 1.0)
    learner.begin_step(1, kept)
    found = learner.mini_batches(kept)
    assert [sorted(set(one.groups_B.tolist())) for one in found] == [[0, 1], [2, 3]]
    assert [len(one) for one in found] == [6, 6] and all(len(learner.mini_batches(one)) == 1 for one in found)


def poisoned() -> PreTrainedModel:
    model = policy()
    with torch.no_grad():
        next(iter(model.parameters()))[5, 0] = math.inf
    return model


def test_a_non_finite_loss_stops_the_run_with_its_cause() -> None:
    with pytest.raises(NonFiniteError, match=r"stage pass_1: loss nan .* learner\.non_finite=skip"):
        learn(OnePass(), model=poisoned(), **ADAMW)


def test_a_non_finite_step_is_skipped_and_counted_when_so_configured() -> None:
    model = poisoned()
    before = copy.deepcopy(dict(model.named_parameters()))
    after, stages = learn(OnePass(), steps=2, model=model, non_finite=NonFinite.skip, **ADAMW)
    assert [(s[0].optimizer_steps, s[0].skipped_optimizer_steps) for s in stages] == [(0, 1), (0, 1)]
    assert all(torch.equal(after[name], before[name]) for name in after)


def test_the_kl_penalty_has_no_gradient_at_the_start_and_pulls_back_later() -> None:
    # One group, and `batch` gives the first group no advantage: nothing but the penalty is left.
    held, _ = learn(OnePass(), steps=1, groups=1, objective=Clipped(kl_coefficient=1.0), **SGD)
    assert largest_difference(held, dict(policy().named_parameters())) < 1e-12
    drifts = []
    for coefficient in (0.0, 1.0):
        model, data = policy(), batch(4, seed=50)
        start = Scorer(copy.deepcopy(model), 1.0)
        learn(
            OnePass(),
            steps=20,
            model=model,
            objective=Clipped(kl_coefficient=coefficient),
            **{**SGD, "learning_rate": 0.05},
        )
        with torch.no_grad():
            now, then = Scorer(model, 1.0).score(on_cpu(data)), start.score(on_cpu(data))
        drifts.append(float(k3(now.log_probs_BT, then.log_probs_BT).sum()))
    assert drifts[1] < 0.5 * drifts[0]


def stages_of(rule: UpdateRule) -> Iterator[str]:
    _, stages = learn(rule, steps=1, **ADAMW)
    yield from (stage.stage for stage in stages[0])


def test_stages_are_named_after_what_they_are() -> None:
    assert list(stages_of(OnePass())) == ["pass_1"]
    assert list(stages_of(Repeat(passes=2))) == ["pass_1", "pass_2"]
    assert list(stages_of(SlowFast(fast_passes=2))) == ["fast_1", "fast_2", "slow"]
    assert list(stages_of(SlowFast(alpha=0.0))) == ["slow"]
