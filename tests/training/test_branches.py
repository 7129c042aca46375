"""Trees of responses for text: who shares which tokens, that groups are whole, and that the text is the response's."""

from __future__ import annotations

from itertools import groupby

import pytest

from sfpo_bench.algorithms.collectors.branches import Branches
from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.algorithms.trees import edges
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Completion, FinishReason, Sampling, Trajectory
from sfpo_bench.models.load import load
from sfpo_bench.rollout.encoding import end_of_sequence_ids
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.rollout.transformers_engine import TransformersEngine
from sfpo_bench.settings.models import EmbeddedModel
from sfpo_bench.settings.training import Precision
from sfpo_bench.training.rollouts import GradedRollouts, ProblemSchedule, Sampler, StepSource, Stopwatch
from tests.training.rollout_sources import ByKey, KeyEngine, problems

GROUP, PROMPTS, LIMIT = 8, 5, 9
SCHEDULE = ProblemSchedule(problems(40), prompts=PROMPTS, seed=3)


class EndingEngine(KeyEngine):
    """Responses end as often as not before the limit that they are given; the others are cut there."""

    def _respond(self, one: Request, sample: int, sampling: Sampling, noise: NoiseStream) -> Completion:
        key, limit = noise.key(one.problem_id, sample), sampling.max_new_tokens
        tokens = limit if key % 3 else 1 + key // 3 % limit
        ids = tuple(1 + (key >> place) % 20 for place in range(tokens))
        reason = FinishReason.truncated if key % 3 else FinishReason.stopped
        log_probs = tuple(-((key >> place) % 7) / 10 for place in range(tokens))
        return Completion(one.problem_id, sample, one.prompt_ids, ids, log_probs, str(key), reason)


def source(step: int = 1, group: int = GROUP) -> StepSource:
    sampler = Sampler(EndingEngine(), ByKey(), SCHEDULE, Sampling(1.0, LIMIT), group, SCHEDULE.seed)
    return sampler.at(step, Stopwatch(), lambda statuses: None)


def grown(rule: Branches, step: int = 1) -> tuple[list[Trajectory], StepSource]:
    given = source(step)
    return list(rule.collect(given).trajectories), given


@pytest.mark.parametrize("rule", [Branches(), Branches(splits=3), Branches(splits=1, segment_tokens=2)], ids=str)
def test_every_problem_has_a_whole_group_whose_shared_tokens_are_sampled_and_trained_once(rule: Branches) -> None:
    found, given = grown(rule)
    groups = [list(group) for _, group in groupby(found, key=lambda one: one.group)]
    assert [len(group) for group in groups] == [GROUP] * PROMPTS and GradedRollouts(found).group == GROUP
    assert (given.spent.prompts, given.spent.responses) == (PROMPTS, PROMPTS * GROUP)
    trained = sum(len(one.completion.response_ids) - one.loss_from for one in found)
    assert trained == given.spent.tokens < sum(len(one.completion.response_ids) for one in found)
    for one in found:
        done = one.completion
        assert done.problem_id == one.problem.id and done.prompt_ids == (int(one.problem.id),)
        assert len(done.log_probs) == len(done.response_ids) <= LIMIT
        assert (done.finish_reason is FinishReason.truncated) == (len(done.response_ids) == LIMIT) or (
            done.finish_reason is FinishReason.stopped
        )
        if one.parent is not None:
            parent = found[one.parent]
            assert parent.group == one.group
            assert parent.completion.response_ids[: one.loss_from] == done.response_ids[: one.loss_from]
            assert parent.completion.log_probs[: one.loss_from] == done.log_probs[: one.loss_from]


def test_it_branches_in_two_at_the_ends_of_segments_until_a_response_ends() -> None:
    found, _ = grown(Branches(splits=2))
    tree = edges(found)
    below: dict[int, int] = {}
    for edge in tree:
        if edge.above is not None:
            below[edge.above] = below.get(edge.above, 0) + 1
    assert set(below.values()) == {2}
    for place, edge in enumerate(tree):
        assert (place in below) != edge.is_leaf
        if not edge.is_leaf:
            assert (edge.first, edge.end) == (3 * (edge.depth - 1), 3 * edge.depth)
    assert {edge.depth for edge in tree} == {1, 2, 3}
    ends = [found[edge.row].completion.finish_reason for edge in tree if edge.is_leaf and edge.depth < 3]
    assert FinishReason.stopped in ends, "some ended early"


def test_without_a_split_it_is_grpos_batch() -> None:
    found, given = grown(Branches(splits=0))
    plain = source()
    assert found == list(GroupCollector().collect(plain).trajectories) and given.spent == plain.spent


def test_the_same_step_grows_the_same_trees_and_no_two_segments_share_noise() -> None:
    (first, given), (again, _), (other, _) = grown(Branches()), grown(Branches()), grown(Branches(), step=2)
    assert first == again and first != other
    engine = given._sampler.engine
    assert isinstance(engine, EndingEngine)
    asked = [(request.problem_id, sample) for request in engine.asked for sample in request.samples]
    assert len(asked) == len(set(asked))


def test_a_group_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rollout\.group = 6 with algorithm\.collector\.splits = 2"):
        Branches().check("algorithm.collector", 6)


def test_the_text_of_a_response_that_went_on_is_that_of_all_its_tokens() -> None:
    policy = load(EmbeddedModel(), Precision.float32, "cpu")
    engine = TransformersEngine(
        policy.model, policy.tokenizer, end_of_sequence_ids(policy.model, policy.tokenizer), batch_responses=8
    )
    prompt = tuple(policy.tokenizer("7*8-35=")["input_ids"])
    noise, sampling = NoiseStream(0, "rollout", 1), Sampling(1.0, 4)
    [whole] = engine.generate([Request("a", prompt, (0,))], sampling, noise)
    begun = whole.response_ids[:1]
    [rest] = engine.generate([Request("a", (*prompt, *begun), (1,), begun=1)], sampling, noise)
    assert rest.text == policy.tokenizer.decode([*begun, *rest.response_ids], skip_special_tokens=True)
    assert rest.prompt_ids == (*prompt, *begun) and len(rest.text) > len(rest.response_ids) - 1
