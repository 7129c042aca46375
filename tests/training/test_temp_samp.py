"""TempSamp-R1's rollouts: the reference solution in the group, which costs nothing and has no ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sfpo_bench.algorithms.collectors.temp_samp import TempSamp
from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Completion, FinishReason, GradeStatus, Problem, Split
from sfpo_bench.grading import grade_math
from sfpo_bench.models.arithmetic_character import EOS, VOCABULARY, build_model, build_tokenizer
from sfpo_bench.problems.addition import Addition
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.problems.load import solution_of
from sfpo_bench.problems.protocol import Task
from sfpo_bench.problems.sets import card
from sfpo_bench.rollout.encoding import EncodedProblem
from sfpo_bench.rollout.solutions import require_solutions, with_solutions
from sfpo_bench.settings.rollout import OverLong
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.batch import assemble
from sfpo_bench.training.learner import LocalLearner, StepReadings
from sfpo_bench.training.rollouts import GradedRollouts, ProblemSchedule
from tests.training.policies import policy
from tests.training.rollout_sources import ByKey, problems, source_of
from tests.training.test_learner import SGD

SIZE, PROMPTS = 4, 5


def with_solution(one: EncodedProblem) -> EncodedProblem:
    return replace(one, problem=replace(one.problem, solution="8"), solution_ids=(7, 8, 1))


SCHEDULE = ProblemSchedule([with_solution(one) for one in problems(40)], prompts=PROMPTS, seed=3)


def test_the_solution_has_one_place_of_the_group_and_costs_no_rollout() -> None:
    source, engine, counted = source_of(SCHEDULE, SIZE)
    found = TempSamp().collect(source)
    rows = found.trajectories
    assert found.metrics == {"solution_reward_mean": 1.0} and not all(one.grade.reward for one in rows)
    plain, _, _ = source_of(SCHEDULE, SIZE - 1)
    sampled = [one for one in rows if one.completion.is_sampled]
    assert sampled == plain.roll_out(plain.problems), "the samples are those of a smaller group"
    assert source.spent == plain.spent and sum(len(one.samples) for one in engine.asked) == PROMPTS * (SIZE - 1)
    assert [one.group for one in rows] == [number for number in range(PROMPTS) for _ in range(SIZE)]
    for one in rows[SIZE - 1 :: SIZE]:
        done = one.completion
        assert (done.response_ids, done.text, done.log_probs, done.sample) == ((7, 8, 1), "8", (), -1)
        assert done.prompt_ids == SCHEDULE.problems[int(one.problem.id)].prompt_ids
        assert one.grade.status is GradeStatus.correct, "graded by the task, as any other"
    assert len(counted) == PROMPTS * SIZE


def test_what_is_measured_of_a_step_is_measured_on_samples() -> None:
    source, _, _ = source_of(SCHEDULE, SIZE, ByKey(hard=frozenset(str(n) for n in range(40))))
    rows = [
        one if one.completion.is_sampled else replace(one, grade=replace(one.grade, reward=1.0))
        for one in TempSamp().collect(source).trajectories
    ]
    found = GradedRollouts(rows).metrics([0.0, 0.0, 0.0, 1.0] * PROMPTS)
    own = GradedRollouts([one for one in rows if one.completion.is_sampled]).metrics([0.0] * (PROMPTS * 3))
    assert found["reward_mean"] == found["correct_share"] == 0.0
    assert found == {**own, "groups_without_signal_share": 0.0}


# The learner.


def completions(*, solution: bool) -> list[Completion]:
    draws = torch.Generator().manual_seed(1)
    found = []
    for sample in range(4):
        ids = tuple(torch.randint(2, 20, (3 + sample,), generator=draws).tolist())
        written = sample == 3 and solution
        log_probs = () if written else (-0.5,) * len(ids)
        found.append(Completion("0", sample, (4, 5), ids, log_probs, "", FinishReason.stopped))
    return found


def stepped(
    done: Sequence[Completion], advantages: Sequence[float], correction: Correction = Correction.none
) -> tuple[LocalLearner, StepReadings, float]:
    settings = LearnerSettings(**{**SGD, "engine_correction": correction, "gradient_clip_norm": 0.0})
    learner = LocalLearner(policy(), Clipped(), settings, 1.0)
    rows = assemble(done, torch.tensor(advantages, dtype=torch.float64), 8)
    learner.begin_step(1, rows)
    stage = learner.optimize(rows, "pass_1")
    return learner, learner.end_step(), stage.ratio_max


ADVANTAGES = (0.5, -0.5, 0.25, 1.5)


def test_the_gradient_of_the_solution_is_the_plain_one_and_its_ratio_1() -> None:
    """The weights after SGD's step against -mean over responses of A mean log pi, written out."""
    learner, _, ratio_max = stepped(completions(solution=True), ADVANTAGES)
    model = policy()
    loss = torch.zeros((), dtype=torch.float64)
    for one, advantage in zip(completions(solution=True), ADVANTAGES, strict=True):
        loss = loss - advantage * _mean_log_prob(model, one) / 4
    loss.backward()
    rate = LearnerSettings(**SGD).learning_rate
    expected = {n: p.detach() - rate * p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert ratio_max == pytest.approx(1.0, abs=1e-12)
    assert max(float((learner.masters.masters[n].detach() - w).abs().max()) for n, w in expected.items()) < 1e-10


def _mean_log_prob(model: PreTrainedModel, one: Completion) -> Tensor:
    logits_TV = model(input_ids=torch.tensor([[*one.prompt_ids, *one.response_ids]])).logits[0]
    log_p_TV = logits_TV[len(one.prompt_ids) - 1 : -1].log_softmax(dim=-1)
    mean: Tensor = log_p_TV.gather(1, torch.tensor(one.response_ids)[:, None]).mean()
    return mean


@pytest.mark.parametrize("correction", list(Correction))
def test_no_comparison_with_the_engine_sees_it(correction: Correction) -> None:
    """Readings are those of the samples alone; a correction leaves the solution's loss as it is."""
    with_it, readings, _ = stepped(completions(solution=True), ADVANTAGES, correction)
    _, alone, _ = stepped(completions(solution=True)[:3], ADVANTAGES[:3], correction)
    assert readings.mismatch.ratio_mean == pytest.approx(alone.mismatch.ratio_mean, rel=1e-12)
    assert readings.mismatch.ratio_max == pytest.approx(alone.mismatch.ratio_max, rel=1e-12)
    assert readings.mismatch.effective_sample_share == pytest.approx(alone.mismatch.effective_sample_share, rel=1e-12)
    sampled = stepped(completions(solution=False), ADVANTAGES)[1].mismatch
    assert sampled.ratio_mean != pytest.approx(alone.mismatch.ratio_mean, rel=1e-3), "a fourth sample would be seen"
    assert all(bool(weight.isfinite().all()) for weight in with_it.masters.masters.values())
    if correction is not Correction.none:
        assert with_it._weights_BT is not None and bool((with_it._weights_BT[3] >= 1).all())


# The data.


@pytest.mark.parametrize("task", [Arithmetic(), Addition()], ids=lambda task: task.kind)
def test_a_tasks_solutions_are_right_by_its_own_grader(task: Task) -> None:
    every = [problem for split in Split for problem in task.problems(split)]
    for problem in every[::7]:
        assert problem.solution is not None
        done = Completion(problem.id, -1, (), (), (), problem.solution, FinishReason.stopped)
        assert task.grade(problem, done).status is GradeStatus.correct
    require_solutions(every, "any")


@pytest.mark.parametrize(
    ("name", "written", "answer"),
    [
        ("gsm8k_train", "She sold 48/2 = <<48/2=24>>24 in May.\nIn all 48+24 = <<48+24=72>>72.\n#### 72", "72"),
        ("gsm8k_train", "She sold 48/2 = <<48/2=24>>24 in May.\nIn all 48+24 = <<48+24=72>>72.", "72"),
        ("math_train", r"We have $x = \frac{1}{2}$, so the answer is $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        ("math_train", r"So $x$ is one half.", r"\frac{1}{2}"),
    ],
)
def test_solutions_of_training_sets_are_right_by_the_grader_of_their_prompts(
    name: str, written: str, answer: str
) -> None:
    found = solution_of(card(name), written, answer)
    assert found is not None and "<<" not in found and "####" not in found
    assert found.startswith(written.split("<<")[0]) and found.count("\\boxed{") == 1
    assert grade_math(answer, found).status is GradeStatus.correct


def test_what_is_no_solution_is_none() -> None:
    assert (
        solution_of(card("gsm8k_train"), "", "72") is None and solution_of(card("gsm8k_train"), "#### 72", "72") is None
    )
    assert solution_of(card("countdown_train"), "1+2", '{"target": 3, "numbers": [1, 2]}') is None


# Tokens.


def encoded(*solutions: str | None) -> list[EncodedProblem]:
    return [EncodedProblem(Problem(str(n), "1+1", "2", text), (3,)) for n, text in enumerate(solutions)]


def test_a_solution_is_tokenised_by_the_models_tokenizer_with_its_end() -> None:
    model, tokenizer = build_model(), build_tokenizer()
    [one] = with_solutions(encoded("56-35=21"), model, tokenizer, 9, OverLong.refuse)
    assert one.solution_ids == (*(VOCABULARY[character] for character in "56-35=21"), VOCABULARY[EOS])
    with pytest.raises(ConfigError, match=r"1 of 2 reference solutions are longer than rollout\.max_new_tokens = 8"):
        with_solutions(encoded("1", "56-35=21"), model, tokenizer, 8, OverLong.refuse)
    assert len(with_solutions(encoded("1", "56-35=21"), model, tokenizer, 8, OverLong.drop)) == 1
    with pytest.raises(ConfigError, match="raise the limit"):
        with_solutions(encoded("56-35=21"), model, tokenizer, 8, OverLong.drop)
    with pytest.raises(ConfigError, match=r"1 of 2 reference solutions have characters .* problem 1, with 'x'"):
        with_solutions(encoded("1", "x=1"), model, tokenizer, 8, OverLong.refuse)


@pytest.mark.parametrize("lacking", [None, "", "  \n"])
def test_a_task_without_solutions_is_refused_by_name(lacking: str | None) -> None:
    rows = [one.problem for one in encoded("1", lacking, lacking)]
    with pytest.raises(ConfigError, match=r"2 of 3 training problems of mine have no reference solution.*first: 1"):
        require_solutions(rows, "mine")


def test_a_group_of_the_solution_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rollout\.group = 1 with algorithm\.collector\.kind = temp_samp"):
        TempSamp().check("algorithm.collector", 1)
