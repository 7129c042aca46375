"""What collectors return: GRPO's groups, DAPO's groups with a signal, trees; what they cost, on one rank and on two."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from sfpo_bench.algorithms.collectors.dynamic_sampling import DynamicSampling, chosen, has_signal
from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, RolloutSource
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Grade, GradeStatus, Trajectory
from sfpo_bench.training.ranks import Ranks
from sfpo_bench.training.rollouts import GradedRollouts, ProblemSchedule, StepSource
from tests.training.rollout_sources import ByKey, problems, source_of

GROUP, PROMPTS = 4, 5
SCHEDULE = ProblemSchedule(problems(40), prompts=PROMPTS, seed=3)
NO_SIGNAL = ByKey(hard=frozenset(str(n) for n in range(0, 40, 2)), easy=frozenset(str(n) for n in range(1, 40, 4)))


def collected(collector: Collector, task: ByKey, step: int = 1, ranks: Ranks | None = None) -> Collected:
    source, _, _ = source_of(SCHEDULE, GROUP, task, step, ranks or Ranks())
    return collector.collect(source)


def groups(found: Collected) -> list[Sequence[Trajectory]]:
    rows = found.trajectories
    return [rows[start : start + GROUP] for start in range(0, len(rows), GROUP)]


def test_groups_are_those_of_the_problems_of_the_step_and_cost_what_they_are() -> None:
    source, _, counted = source_of(SCHEDULE, GROUP, step=2)
    found = GroupCollector().collect(source).trajectories
    assert [one.problem.id for one in found] == [p.problem.id for p in SCHEDULE.at(2) for _ in range(GROUP)]
    assert [one.group for one in found] == [n // GROUP for n in range(GROUP * PROMPTS)]
    assert [one.completion.problem_id for one in found] == [one.problem.id for one in found]
    assert counted == [one.grade.status for one in found]
    tokens = sum(len(one.completion.response_ids) for one in found)
    assert (source.spent.prompts, source.spent.responses, source.spent.tokens) == (PROMPTS, PROMPTS * GROUP, tokens)


def test_dynamic_sampling_returns_a_whole_batch_of_groups_with_a_signal_in_the_order_they_were_sampled() -> None:
    source, engine, counted = source_of(SCHEDULE, GROUP, NO_SIGNAL)
    found = DynamicSampling().collect(source)
    assert len(found.trajectories) == PROMPTS * GROUP
    for group in groups(found):
        assert {one.grade.status for one in group} == {GradeStatus.correct, GradeStatus.wrong}
    asked = [request.problem_id for request in engine.asked]
    kept = [group[0].problem.id for group in groups(found)]
    assert [asked.index(one) for one in kept] == sorted(asked.index(one) for one in kept)
    assert len(asked) == len(set(asked)) == found.metrics["sampling_rounds"] * PROMPTS > PROMPTS
    right = sum(status is GradeStatus.correct for status in counted) / len(counted)
    assert found.metrics["sampled_correct_share"] == right and found.metrics["filled_groups_share"] == 0.0
    mixed = [len(set(counted[start : start + GROUP])) == 2 for start in range(0, len(counted), GROUP)]
    assert found.metrics["sampled_groups_with_signal_share"] == sum(mixed) / len(mixed)


def test_what_is_thrown_away_is_spent() -> None:
    source, engine, counted = source_of(SCHEDULE, GROUP, NO_SIGNAL)
    found = DynamicSampling().collect(source)
    assert source.spent.prompts == len(engine.asked) > PROMPTS
    assert source.spent.responses == len(counted) == len(engine.asked) * GROUP
    assert source.spent.tokens > sum(len(one.completion.response_ids) for one in found.trajectories)


def test_a_round_more_is_taken_only_where_groups_are_missing() -> None:
    """With a signal everywhere, or one round alone, the batch is GRPO's."""
    everywhere = ByKey()
    step = next(s for s in range(1, 99) if all(map(has_signal, groups(collected(GroupCollector(), everywhere, s)))))
    for task, number, rule in ((everywhere, step, DynamicSampling()), (NO_SIGNAL, 1, DynamicSampling(max_rounds=1))):
        found = collected(rule, task, number)
        assert found.trajectories == collected(GroupCollector(), task, number).trajectories
        assert found.metrics["sampling_rounds"] == 1.0


def test_when_the_rounds_are_over_the_first_groups_without_a_signal_fill_the_batch() -> None:
    source, engine, _ = source_of(SCHEDULE, GROUP, ByKey(hard=frozenset(str(n) for n in range(40))))
    found = DynamicSampling(max_rounds=3).collect(source)
    assert [request.problem_id for request in engine.asked][:PROMPTS] == [g[0].problem.id for g in groups(found)]
    assert len(engine.asked) == 3 * PROMPTS and found.metrics["filled_groups_share"] == 1.0
    assert chosen([False, True, False, False, True, True], 2) == [1, 4]
    assert chosen([False, True, False, False, True, True], 4) == [0, 1, 4, 5]


def test_the_same_seed_and_step_collect_the_same_and_another_step_others() -> None:
    first, again, other = (collected(DynamicSampling(), NO_SIGNAL, step) for step in (4, 4, 5))
    assert first == again and first.trajectories != other.trajectories


def test_a_group_of_one_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"rollout\.group = 1 with algorithm\.collector\.kind = dynamic_sampling"):
        DynamicSampling().check("algorithm.collector", 1)


class _Threads(Ranks):
    """Ranks in threads of this process, which meet at a barrier."""

    def __init__(self, rank: int, tables: list[list[object]], barrier: threading.Barrier) -> None:
        self.rank, self.count, self._tables, self._barrier = rank, len(tables), tables, barrier

    def gather(self, items):  # type: ignore[no-untyped-def]
        self._tables[self.rank] = list(items)
        self._barrier.wait(timeout=60)
        found = [item for table in self._tables for item in table]
        self._barrier.wait(timeout=60)
        return found


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_divide_the_work_and_agree_on_all_of_it(count: int) -> None:
    alone = collected(DynamicSampling(), NO_SIGNAL)
    tables: list[list[object]] = [[] for _ in range(count)]
    barrier = threading.Barrier(count)
    found: dict[int, tuple[Collected, StepSource, int]] = {}

    def work(rank: int) -> None:
        source, engine, _ = source_of(SCHEDULE, GROUP, NO_SIGNAL, 1, _Threads(rank, tables, barrier))
        found[rank] = DynamicSampling().collect(source), source, len(engine.asked)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert [found[rank][0] for rank in range(count)] == [alone] * count
    assert len({found[rank][1].spent for rank in range(count)}) == 1
    assert sum(found[rank][2] for rank in range(count)) == found[0][1].spent.prompts


@dataclass
class Tree(Collector):
    """Two segments: each first one, of at most two tokens, has two branches; a leaf's prefix bears loss once."""

    def collect(self, source: RolloutSource) -> Collected:
        found: list[Trajectory] = []
        for number, problem in enumerate(source.problems):
            for stem in source.respond([problem], samples=source.group // 2, max_new_tokens=2):
                branches = source.respond([problem], samples=2, after=[stem.response_ids])
                for branch in branches:
                    whole = replace(
                        branch,
                        prompt_ids=stem.prompt_ids,
                        response_ids=(*stem.response_ids, *branch.response_ids),
                        log_probs=(*stem.log_probs, *branch.log_probs),
                    )
                    first = branch is branches[0]
                    parent, loss_from = (None, 0) if first else (len(found) - 1, len(stem.response_ids))
                    [grade] = source.grade([problem], [whole])
                    found.append(Trajectory(problem, whole, grade, number, parent, loss_from))
        return Collected(found)


def test_a_tree_is_a_collector_whose_shared_tokens_are_sampled_and_trained_once() -> None:
    source, engine, _ = source_of(SCHEDULE, GROUP)
    found = Tree().collect(source).trajectories
    prompts = {one.problem.id: SCHEDULE.problems[int(one.problem.id)].prompt_ids for one in found}
    assert all(one.completion.prompt_ids == prompts[one.problem.id] for one in found)
    trained = sum(len(one.completion.response_ids) - one.loss_from for one in found)
    assert trained == source.spent.tokens < sum(len(one.completion.response_ids) for one in found)
    for one in found:
        if one.parent is not None:
            parent = found[one.parent].completion.response_ids
            assert parent[: one.loss_from] == one.completion.response_ids[: one.loss_from]
    keys = [(r.problem_id, sample) for r in engine.asked for sample in r.samples]
    assert len(keys) == len(set(keys)), "no two segments share their noise"
    assert GradedRollouts(found).group == GROUP
    assert (source.spent.prompts, source.spent.responses) == (PROMPTS, len(found)), "each problem and each leaf once"


def test_grades_may_be_a_collectors_own() -> None:
    """Labels by majority: what is trained on differs from what was counted as graded."""

    class Majority(GroupCollector):
        def collect(self, source: RolloutSource) -> Collected:
            rows = source.roll_out(source.problems)
            return Collected([replace(one, grade=Grade(GradeStatus.correct, 1.0, None)) for one in rows])

    source, _, counted = source_of(SCHEDULE, GROUP)
    found = Majority().collect(source)
    assert GradedRollouts(found.trajectories).metrics([0.0] * 20)["correct_share"] == 1.0
    assert GradeStatus.wrong in counted
