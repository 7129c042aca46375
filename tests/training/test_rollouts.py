"""Which problems a step trains on, and the noise of problems met twice."""

from __future__ import annotations

from collections import Counter

from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem
from sfpo_bench.training.rollouts import GradedRollouts, ProblemSchedule
from tests.training.rollout_sources import ByKey, problems, source_of, trajectories


def ids(schedule: ProblemSchedule, step: int) -> list[str]:
    return [item.problem.id for item in schedule.at(step)]


def test_every_epoch_meets_every_problem_once_even_when_steps_span_epochs() -> None:
    schedule = ProblemSchedule(problems(10), prompts=4, seed=0)
    met = [problem for step in range(1, 6) for problem in ids(schedule, step)]
    assert Counter(met[:10]) == Counter(met[10:]) == Counter(str(n) for n in range(10))
    assert met[:10] != met[10:], "each epoch has an order of its own"


def test_the_problems_of_a_step_are_a_function_of_seed_and_step() -> None:
    assert ids(ProblemSchedule(problems(50), 8, seed=3), 17) == ids(ProblemSchedule(problems(50), 8, seed=3), 17)
    assert ids(ProblemSchedule(problems(50), 8, seed=3), 17) != ids(ProblemSchedule(problems(50), 8, seed=4), 17)


def test_further_rounds_meet_what_the_step_has_not_and_only_then_repeat() -> None:
    schedule = ProblemSchedule(problems(10), prompts=4, seed=0)
    met = [*ids(schedule, 2), *(item.problem.id for number in (2, 3) for item in schedule.further(2, number))]
    assert Counter(met[:10]) == Counter(str(n) for n in range(10)) and len(met) == 12
    again = [item.problem.id for item in ProblemSchedule(problems(10), 4, seed=0).further(2, 2)]
    assert again == met[4:8] and again != [item.problem.id for item in schedule.further(1, 2)]
    everything = ProblemSchedule(problems(4), prompts=4, seed=0)
    assert sorted(item.problem.id for item in everything.further(1, 2)) == ["0", "1", "2", "3"]


def test_a_step_larger_than_the_data_repeats_problems_with_new_samples() -> None:
    source, engine, _ = source_of(ProblemSchedule(problems(3), prompts=7, seed=0), group=2)
    source.roll_out(source.problems)
    source.roll_out(source.further(2))
    samples = Counter((request.problem_id, sample) for request in engine.asked for sample in request.samples)
    assert len(engine.asked) == 14 and set(samples.values()) == {1}, "no two responses share their noise"


def test_a_group_has_a_signal_when_one_of_its_responses_has_an_advantage() -> None:
    """Also where another response is just the mean of its group."""
    done = [Completion("a", n, (1,), (2,), (0.0,), "", FinishReason.stopped) for n in range(6)]
    grades = [Grade(GradeStatus.wrong, reward, None) for reward in (0.0, 0.5, 1.0, 1.0, 1.0, 1.0)]
    found = GradedRollouts(trajectories(done, grades, 3)).metrics([-1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    assert found["groups_without_signal_share"] == 0.5


def test_a_reward_is_no_right_answer_and_a_grading_that_failed_no_missing_one() -> None:
    done = [Completion("a", n, (1,), (2,) * (n + 1), (0.0,) * (n + 1), "", FinishReason.stopped) for n in range(4)]
    statuses = (GradeStatus.correct, GradeStatus.wrong, GradeStatus.no_answer, GradeStatus.timeout)
    grades = [Grade(status, 0.5, None) for status in statuses]
    rollouts = GradedRollouts(trajectories(done, grades, 2))
    found = rollouts.metrics([0.0] * 4)
    assert found["correct_share"] == 0.25
    assert (found["reward_mean"], found["reward_std"], found["prompt_tokens_mean"]) == (0.5, 0.0, 1.0)
    samples = rollouts.samples(3, [-1.5, 0.5, 0.25, 0.75])
    assert [(s.problem, s.advantage, s.reward, s.response_tokens) for s in samples] == [
        ("p0", -1.5, 0.5, 1),
        ("p0", 0.5, 0.5, 2),
        ("p1", 0.25, 0.5, 3),
        ("p1", 0.75, 0.5, 4),
    ]


def test_the_same_problems_get_other_noise_in_another_step_and_under_another_seed() -> None:
    texts = []
    for seed, step in ((0, 1), (0, 2), (1, 1)):
        source, _, _ = source_of(ProblemSchedule(problems(3), prompts=3, seed=seed), group=2, step=step)
        texts += [one.completion.text for one in source.roll_out(source.problems)]
    assert len(texts) == len(set(texts)) == 18


def test_further_rounds_have_an_order_of_their_own_in_every_step_and_under_every_seed() -> None:
    """Also where every step has met all problems."""
    orders = {
        tuple(item.problem.id for item in ProblemSchedule(problems(9), 9, seed).further(step, 2))
        for seed in (0, 1)
        for step in (1, 2, 3)
    }
    assert len(orders) == 6 and {tuple(sorted(order)) for order in orders} == {tuple("012345678")}


def test_the_failed_share_of_a_grading_is_that_of_timeouts_and_errors_over_all_rounds() -> None:
    statuses = list(GradeStatus)

    class ByProblem(ByKey):
        def grade(self, problem: Problem, completion: Completion) -> Grade:
            return Grade(statuses[int(problem.id)], 0.0, None)

    source, _, counted = source_of(ProblemSchedule(problems(len(statuses)), len(statuses), 0), 2, ByProblem())
    assert source.metrics() == {"grading_failed_share": 0.0}
    source.roll_out(source.problems)
    source.roll_out([one for one in source.further(2) if one.id == str(statuses.index(GradeStatus.timeout))])
    assert set(counted) == set(statuses) and len(counted) == 2 * (len(statuses) + 1)
    assert source.metrics()["grading_failed_share"] == (2 + 2 + 2) / len(counted)
