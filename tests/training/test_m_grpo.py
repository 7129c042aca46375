"""M-GRPO's rollouts: who samples, who votes, who is trained on, and how the momentum policy follows the policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from sfpo_bench.algorithms.advantages.group import GroupAdvantage
from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.algorithms.collectors.m_grpo import Labels, MGrpo
from sfpo_bench.algorithms.collectors.protocol import Collected
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Problem, Sampling
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.settings.training import LearnerSettings
from sfpo_bench.training.learner import LocalLearner
from sfpo_bench.training.rollouts import GradedRollouts, ProblemSchedule, Sampler, StepSource, Stopwatch
from tests.training.policies import VOCABULARY, batch, policy
from tests.training.rollout_sources import ByKey, KeyEngine, problems
from tests.training.test_learner import ADAMW, largest_difference, same_bits

SIZE, PROMPTS, STEPS = 8, 5, 3
SCHEDULE = ProblemSchedule(problems(40), prompts=PROMPTS, seed=3)


@dataclass
class Answers(ByKey):
    """Answers 0, 1 or 2 by the response's key; 1 is right."""

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        answer = str(int(completion.text) % 3)
        return Grade(GradeStatus.correct if answer == "1" else GradeStatus.wrong, float(answer == "1"), answer)


@dataclass
class Follower(KeyEngine):
    """Writes what the policy's engine would; remembers when it was made ready and when it was at rest."""

    calls: list[str] = field(default_factory=list)

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        self.calls.append("generate")
        return super().generate(requests, sampling, noise)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        self.calls.append("load")

    def free_memory(self) -> None:
        self.calls.append("free_memory")


def entropies(completions: Sequence[Completion]) -> list[float]:
    """The first of a prompt's pool is an outlier below, all others are alike."""
    return [0.1 if one.sample == 0 else 1.0 + 0.1 * one.sample for one in completions]


def source_of(step: int = 1) -> tuple[StepSource, KeyEngine, Follower]:
    engine, follower = KeyEngine(), Follower()

    def count(statuses: Iterable[GradeStatus]) -> None: ...

    sampler = Sampler(
        engine, Answers(), SCHEDULE, Sampling(1.0, 6), SIZE, SCHEDULE.seed, follower=follower, entropies=entropies
    )
    return sampler.at(step, Stopwatch(), count), engine, follower


def collected(rule: MGrpo | GroupCollector, step: int = 1) -> Collected:
    return rule.collect(source_of(step)[0])


def test_with_equal_weights_the_pool_is_grpos_and_the_policys_part_is_trained_on() -> None:
    """No noise is drawn twice: the momentum responses have the sample numbers behind the policy's."""
    whole = collected(GroupCollector()).trajectories
    found = collected(MGrpo(labels=Labels.task, filters=False)).trajectories
    own = [one for one in whole if one.completion.sample < SIZE - 2]
    assert found == own and GradedRollouts(found).group == MGrpo().trained(SIZE) == SIZE - 2
    source, engine, follower = source_of()
    MGrpo().collect(source)
    assert {request.samples for request in engine.asked} == {(0, 1, 2, 3, 4, 5)}
    assert {request.samples for request in follower.asked} == {(6, 7)}
    assert follower.calls == ["load", "generate", "free_memory"]


def test_momentum_responses_are_spent_and_a_prompt_is_one() -> None:
    source, _, _ = source_of()
    found = MGrpo().collect(source).trajectories
    assert (source.spent.prompts, source.spent.responses) == (PROMPTS, PROMPTS * SIZE)
    assert source.spent.tokens > sum(len(one.completion.response_ids) for one in found)


@pytest.mark.parametrize("filters", [False, True])
def test_the_whole_pool_votes_without_what_is_left_out(filters: bool) -> None:
    """Against a loop over prompts that counts by hand."""
    whole = collected(GroupCollector()).trajectories
    found = collected(MGrpo(filters=filters)).trajectories
    for number in range(PROMPTS):
        pool = [one for one in whole if one.group == number]
        voters = [one for one in pool if not (filters and one.completion.sample == 0)]
        given = [one.grade.extracted for one in voters]
        best = max(given.count(answer) for answer in given)
        label = next(answer for answer in given if given.count(answer) == best)
        own = [one for one in found if one.group == number]
        assert [one.grade.reward for one in own] == [float(one.grade.extracted == label) for one in pool[: SIZE - 2]]
        assert [one.left_out for one in own] == [filters and place == 0 for place in range(SIZE - 2)]
        assert [one.grade.status for one in own] == [one.grade.status for one in pool[: SIZE - 2]], "the task's"
    metrics = collected(MGrpo(filters=filters)).metrics
    assert metrics["left_out_share"] == (1 / (SIZE - 2) if filters else 0.0)


def test_without_momentum_and_filter_it_is_srt() -> None:
    source, _, follower = source_of()
    found = MGrpo(momentum_share=0.0, filters=False).collect(source).trajectories
    assert not follower.calls and len(found) == PROMPTS * SIZE
    for number in range(PROMPTS):
        own = [one for one in found if one.group == number]
        given = [one.grade.extracted for one in own]
        label = max(dict.fromkeys(given), key=given.count)  # the first of the most frequent
        assert [one.grade.reward for one in own] == [float(answer == label) for answer in given]
    rolled = collected(GroupCollector()).trajectories
    assert [one.completion for one in found] == [one.completion for one in rolled]


def test_where_all_answers_are_alike_no_response_has_an_advantage() -> None:
    class Same(Answers):
        def grade(self, problem: Problem, completion: Completion) -> Grade:
            return Grade(GradeStatus.wrong, 0.0, "5")

    source, _, _ = source_of()
    source._sampler = replace(source._sampler, task=Same())
    rollouts = GradedRollouts(MGrpo(filters=False).collect(source).trajectories)
    assert all(one.grade.reward == 1 for one in rollouts.trajectories)
    assert not GroupAdvantage().advantages(rollouts.rewarded(6)).any()


def test_a_majority_of_too_few_is_no_label_and_what_was_cut_off_has_no_vote() -> None:
    """The authors' code wants more than half."""
    few, any_ = collected(MGrpo(least_share=0.5, filters=False)), collected(MGrpo(filters=False))
    whole = collected(GroupCollector()).trajectories
    for number in range(PROMPTS):
        given = [one.grade.extracted for one in whole if one.group == number]
        enough = max(map(given.count, given)) > SIZE / 2
        rewards = [[one.grade.reward for one in c.trajectories if one.group == number] for c in (few, any_)]
        assert rewards[0] == (rewards[1] if enough else [0.0] * (SIZE - 2))
    assert few.metrics["unlabelled_groups_share"] > 0 and any_.metrics["unlabelled_groups_share"] == 0

    class Cut(KeyEngine):
        def _respond(self, one: Request, sample: int, sampling: Sampling, noise: NoiseStream) -> Completion:
            return replace(super()._respond(one, sample, sampling, noise), finish_reason=FinishReason.truncated)

    source, _, _ = source_of()
    source._sampler = replace(source._sampler, engine=Cut(), follower=Cut())
    found = MGrpo(filters=False).collect(source)
    assert not any(one.grade.reward for one in found.trajectories) and found.metrics["unlabelled_groups_share"] == 1


def test_what_is_left_out_weighs_nothing_and_is_not_in_the_statistics() -> None:
    rollouts = GradedRollouts(collected(MGrpo()).trajectories)
    rewarded = rollouts.rewarded(6)
    found_PG = GroupAdvantage().advantages(rewarded)
    others = GradedRollouts([one for one in rollouts.trajectories if not one.left_out])
    assert (found_PG[:, 1:] - GroupAdvantage().advantages(others.rewarded(6))).abs().max() < 1e-12
    weights_PG = rollouts.without_left_out(None)
    assert weights_PG is not None and not weights_PG[:, 0].any() and not found_PG[:, 0].any()
    assert bool((weights_PG[:, 1:] == 1).all()) and others.without_left_out(None) is None
    doubled = rollouts.without_left_out(torch.full_like(weights_PG, 2.0))
    assert doubled is not None and torch.equal(doubled, 2 * weights_PG)


# The momentum policy.


def learned(momentum: float, dtype: torch.dtype = torch.float64) -> tuple[LocalLearner, list[dict[str, Tensor]]]:
    """A learner with a momentum policy after some steps; the policy's weights before the first and after each step."""
    follower = MGrpo(momentum=momentum).follower
    learner = LocalLearner(policy(dtype=dtype), Clipped(), LearnerSettings(**ADAMW), 1.0, follower=follower)
    passed = [weights(learner)]
    for step in range(1, STEPS + 1):
        learner.begin_step(step, batch(4, seed=step))
        learner.optimize(batch(4, seed=step), "pass_1")
        learner.end_step()
        passed.append(weights(learner))
    return learner, passed


def weights(learner: LocalLearner) -> dict[str, Tensor]:
    return {name: master.detach().clone() for name, master in learner.masters.masters.items()}


def momentum_weights(learner: LocalLearner) -> dict[str, Tensor]:
    return dict(learner.tensors_beside()["follower"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_momentum_0_copies_the_policy_and_momentum_1_stays_at_the_start(dtype: torch.dtype) -> None:
    copied, passed = learned(0.0, dtype)
    assert same_bits(momentum_weights(copied), passed[-1])
    assert copied.follower is not None
    model = dict(copied.follower.model.named_parameters())
    assert all(torch.equal(model[name], weight) for name, weight in copied.weights().items()), "what is sampled from"
    frozen, passed = learned(1.0, dtype)
    assert same_bits(momentum_weights(frozen), passed[0]) and largest_difference(passed[0], passed[-1]) > 1e-3


def test_in_between_it_is_the_moving_average_of_the_steps_and_the_policy_does_not_know_of_it() -> None:
    learner, passed = learned(0.9)
    expected = {name: weight.clone() for name, weight in passed[0].items()}
    for now in passed[1:]:
        expected = {name: 0.9 * weight + 0.1 * now[name] for name, weight in expected.items()}
    assert largest_difference(momentum_weights(learner), expected) < 1e-14
    assert same_bits(passed[-1], learned(0.0)[1][-1])
    assert learner.follower is not None and not any(p.requires_grad for p in learner.follower.model.parameters())


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_entropy_of_a_response_is_the_mean_over_its_tokens(temperature: float) -> None:
    """Against -sum p log p, token by token."""
    model = policy()
    learner = LocalLearner(policy(), Clipped(), LearnerSettings(micro_batch_tokens=24), temperature)
    draws = torch.Generator().manual_seed(0)
    done = []
    for n in range(7):
        prompt, response = (tuple(torch.randint(2, VOCABULARY, (k,), generator=draws).tolist()) for k in (3, 1 + n % 4))
        done.append(Completion(str(n), 0, prompt, response, (0.0,) * len(response), "", FinishReason.stopped))
    for one, found in zip(done, learner.entropies(done), strict=True):
        expected = 0.0
        for place in range(len(one.response_ids)):
            ids = torch.tensor([[*one.prompt_ids, *one.response_ids[:place]]])
            with torch.no_grad():
                log_p_V = (model(input_ids=ids).logits[0, -1] / temperature).log_softmax(dim=0)
            expected -= float((log_p_V.exp() * log_p_V).sum())
        assert found == pytest.approx(expected / len(one.response_ids), rel=1e-9)
