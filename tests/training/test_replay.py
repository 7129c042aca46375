"""Replay: what is drawn and how often, what a drawn response brings, and what a checkpoint carries of the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.algorithms.collectors.plain_trajectories import trajectory_of, written
from sfpo_bench.algorithms.collectors.protocol import Collected
from sfpo_bench.algorithms.collectors.replay import Replay
from sfpo_bench.core.types import Trajectory
from sfpo_bench.training.rollouts import GradedRollouts, ProblemSchedule
from tests.training.rollout_sources import problems, source_of

GROUP, PROMPTS = 4, 4
SCHEDULE = ProblemSchedule(problems(40), prompts=PROMPTS, seed=3)


def advantages(step: int) -> Tensor:
    return torch.randn(PROMPTS * GROUP, 1, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def taken(rule: Replay, steps: Sequence[int]) -> list[Collected]:
    """What these training steps are taken on, one after another."""
    found = []
    for step in steps:
        source, _, _ = source_of(SCHEDULE, GROUP, step=step)
        found.append(rule.collect(source))
        rule.observe(GradedRollouts(found[-1].trajectories).fresh.trajectories, advantages(step))
    return found


def drawn(one: Collected) -> list[Trajectory]:
    return [trajectory for trajectory in one.trajectories if trajectory.advantages is not None]


def keys(rows: Sequence[Trajectory]) -> list[str]:
    """The noise's key of each response, which is its text."""
    return [one.completion.text for one in rows]


def test_all_of_the_step_and_half_as_many_of_earlier_ones_each_once_behind_the_groups() -> None:
    found = taken(Replay(warmup_steps=0), range(1, 5))
    assert [len(drawn(one)) for one in found] == [0, 8, 8, 8]
    for step, one in enumerate(found, start=1):
        source, _, _ = source_of(SCHEDULE, GROUP, step=step)
        fresh = GradedRollouts(one.trajectories).fresh
        assert fresh.trajectories == GroupCollector().collect(source).trajectories
        assert len(set(keys(drawn(one)))) == len(drawn(one)), "without replacement"
        sizes = Counter(trajectory.group for trajectory in one.trajectories)
        assert set(sizes.values()) == {GROUP + len(drawn(one)) // PROMPTS}
        groups = [trajectory.group for trajectory in one.trajectories]
        assert groups == sorted(groups), "those of a group beside each other"


def test_a_drawn_response_brings_the_advantage_and_the_log_probs_it_was_born_with() -> None:
    found = taken(Replay(warmup_steps=0), range(1, 4))
    born: dict[str, tuple[float, tuple[float, ...]]] = {}
    for step in (1, 2):
        fresh = GradedRollouts(found[step - 1].trajectories).fresh.trajectories
        made = advantages(step)[:, 0].tolist()
        for one, advantage in zip(fresh, made, strict=True):
            born[one.completion.text] = advantage, one.completion.log_probs
    assert len(drawn(found[2])) == 8
    for one in drawn(found[2]):
        advantage, log_probs = born[one.completion.text]
        assert one.advantages == (advantage,) and one.old_log_probs == log_probs


def test_of_token_advantages_those_of_its_own_tokens() -> None:
    rule = Replay(warmup_steps=0)
    source, _, _ = source_of(SCHEDULE, GROUP)
    fresh = rule.collect(source).trajectories
    rule.observe(fresh, torch.arange(16.0)[:, None] + torch.arange(6.0) / 10)
    for number, one in enumerate(fresh):
        length = len(one.completion.response_ids)
        assert rule._buffer[number][1].advantages == pytest.approx([number + place / 10 for place in range(length)])


def test_a_ratio_of_zero_is_grpos_batch_and_remembers_nothing() -> None:
    rule = Replay(ratio=0.0, warmup_steps=0)
    for step, one in enumerate(taken(rule, range(1, 4)), start=1):
        source, _, _ = source_of(SCHEDULE, GROUP, step=step)
        assert one.trajectories == list(GroupCollector().collect(source).trajectories)
    assert rule.state()["born"] == [] and rule.whole_responses


def test_nothing_is_drawn_before_the_warm_up_ends_and_nothing_that_is_too_old() -> None:
    found = taken(Replay(warmup_steps=3, max_age=2), range(1, 8))
    assert [len(drawn(one)) for one in found] == [0, 0, 0, 8, 8, 8, 8]
    of_step = [keys(GradedRollouts(one.trajectories).fresh.trajectories) for one in found]
    for step in range(3, 7):
        old = set(keys(drawn(found[step])))
        assert old <= {*of_step[step - 1], *of_step[step - 2]}
    oldest = [set(keys(drawn(found[step]))) & set(of_step[step - 2]) for step in range(3, 7)]
    assert any(oldest), "an age of two is allowed"


def test_beyond_the_capacity_the_oldest_go() -> None:
    rule = Replay(capacity=20, warmup_steps=9)
    found = taken(rule, range(1, 4))
    kept = keys([one for _, one in rule._buffer])
    every = [key for one in found for key in keys(one.trajectories)]
    assert kept == every[-20:]


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_draws_are_one_after_another_with_weights_of_the_advantages_size(exponent: float) -> None:
    """Two of four: every pair as often as sequential draws give it, within four standard errors."""
    rule, sizes, draws = Replay(exponent=exponent, warmup_steps=0), [0.1, -0.5, 1.0, 2.0], 4_000
    source, _, _ = source_of(SCHEDULE, GROUP)
    rule.observe(rule.collect(source).trajectories[:4], torch.tensor(sizes).double()[:, None])
    weights = [(abs(size) + 1e-6) ** exponent for size in sizes]
    expected: dict[tuple[int, ...], float] = {}
    for first, second in permutations(range(4), 2):
        chance = weights[first] / sum(weights) * weights[second] / (sum(weights) - weights[first])
        pair = tuple(sorted((first, second)))
        expected[pair] = expected.get(pair, 0.0) + chance
    places = {one.completion.text: place for place, (_, one) in enumerate(rule._buffer)}
    generator, seen = np.random.default_rng(0), Counter[tuple[int, ...]]()
    for _ in range(draws):
        seen[tuple(sorted(places[one.completion.text] for _, one in rule._drawn(2, generator)))] += 1
    for pair, chance in expected.items():
        error = (chance * (1 - chance) / draws) ** 0.5
        assert abs(seen[pair] / draws - chance) < 4 * error


def test_what_is_remembered_goes_through_a_checkpoint_without_losing_a_bit() -> None:
    whole, before, after = (Replay(warmup_steps=2, max_age=3) for _ in range(3))
    expected = taken(whole, range(1, 8))
    taken(before, range(1, 5))
    after.restore(json.loads(json.dumps(before.state())))
    assert taken(after, range(5, 8)) == expected[4:]
    assert after.state() == whole.state()


def test_a_trajectory_as_plain_values_is_the_same_one() -> None:
    source, _, _ = source_of(SCHEDULE, GROUP)
    for one in drawn(taken(Replay(warmup_steps=0), (1, 2))[1]) + list(source.roll_out(source.problems)):
        assert trajectory_of(json.loads(json.dumps(written(one)))) == one
