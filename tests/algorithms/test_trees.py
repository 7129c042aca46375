"""Trees of responses: edges, rewards of nodes, advantages of edges, and what pruning leaves of them."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import pytest
import torch

from sfpo_bench.algorithms.advantages.group import GroupAdvantage
from sfpo_bench.algorithms.advantages.tree import EdgeLogProb, Fusion, TreeAdvantage
from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.algorithms.selections.branch_prune import BranchPrune, Width
from sfpo_bench.algorithms.selections.protocol import Candidates
from sfpo_bench.algorithms.trees import edges, mean_of_leaves, weighted_by_probability
from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, Trajectory
from tests.training.rollout_sources import problems

# Of each response: parent, first token with a loss, tokens. Eight leaves in two trees of two splits at tokens 2 and 4.
BALANCED = [(None, 0, 6), (0, 4, 5), (1, 2, 7), (2, 4, 6)]
BALANCED += [(None, 0, 5), (4, 4, 6), (5, 2, 8), (6, 4, 5)]
# One tree of two depths and three: the first stem ended early, a whole response fills its place.
UNEVEN = [(None, 0, 2), (None, 0, 6), (1, 4, 7), (None, 0, 3)]


def grown(shape: list[tuple[int | None, int, int]], rewards: list[float], group: int) -> list[Trajectory]:
    """Trees of that shape; log-probs are different on every token that bears a loss, and shared where tokens are."""
    found: list[Trajectory] = []
    for row, ((parent, first, tokens), reward) in enumerate(zip(shape, rewards, strict=True)):
        own = tuple(-0.1 * (1 + row) - 0.01 * place for place in range(first, tokens))
        shared = () if parent is None else found[parent].completion.log_probs[:first]
        done = Completion("0", row, (1,), (2,) * tokens, shared + own, "", FinishReason.stopped)
        grade = Grade(GradeStatus.wrong, reward, None)
        found.append(Trajectory(problems(1)[0].problem, done, grade, row // group, parent, first))
    return found


def rewarded(rows: list[Trajectory], group: int) -> Rewarded:
    rewards = torch.tensor([one.grade.reward for one in rows]).double().view(-1, group)
    lengths = torch.tensor([len(one.completion.response_ids) for one in rows]).view(-1, group)
    return Rewarded(rewards, lengths, rows, 8)


def z(values: list[float]) -> list[float]:
    mean, std = fmean(values), stdev(values)
    return [(value - mean) / (std + 1e-8) for value in values]


REWARDS = [1.0, 0.0, 0.0, 0.5, 0.25, 1.0, 0.0, 1.0]


def test_every_token_with_a_loss_is_on_one_edge_and_edges_follow_each_other() -> None:
    rows = grown(BALANCED, REWARDS, 4)
    tree = edges(rows)
    covered = sorted((edge.row, token) for edge in tree for token in range(edge.first, edge.end))
    owned = [(row, t) for row, one in enumerate(rows) for t in range(one.loss_from, len(one.completion.response_ids))]
    assert covered == sorted(owned)
    assert [edge.depth for edge in tree] == [1, 2, 3, 3, 2, 3, 3] * 2
    for edge in tree:
        assert edge.above is None or tree[edge.above].end == edge.first
        assert edge.is_leaf == (edge.depth == 3)


def test_mean_fusion_of_a_balanced_tree_is_the_mean_of_all_its_leaves_at_the_root() -> None:
    tree = edges(grown(BALANCED, REWARDS, 4))
    values = mean_of_leaves(tree, REWARDS)
    first_depth = [value for edge, value in zip(tree, values, strict=True) if edge.depth == 1]
    # One first segment each: all four leaves are below it.
    assert first_depth == pytest.approx([fmean(REWARDS[:4]), fmean(REWARDS[4:])])


def test_equal_log_probs_make_both_fusions_equal_and_others_do_not() -> None:
    tree = edges(grown(BALANCED, REWARDS, 4))
    equal = weighted_by_probability(tree, REWARDS, [-3.0] * len(tree))
    assert equal == pytest.approx(mean_of_leaves(tree, REWARDS), abs=1e-15)
    other = weighted_by_probability(tree, REWARDS, [-0.1 * place for place in range(len(tree))])
    assert max(abs(a - b) for a, b in zip(equal, other, strict=True)) > 1e-3


def test_softmax_fusion_is_written_out() -> None:
    """Of two leaves below a stem, by the sums and by the means of their tokens' log-probs."""
    # Three nodes of depth 1: the scores of two are the same whatever their values.
    rows = grown([(None, 0, 4), (0, 2, 7), (None, 0, 3), (None, 0, 2)], [1.0, 0.0, 0.5, 0.2], 4)
    for choice, of in ((EdgeLogProb.sum, sum), (EdgeLogProb.token_mean, fmean)):
        a, b = (math.exp(of(rows[row].completion.log_probs[2:])) for row in (0, 1))
        expected = z([a / (a + b), 0.5, 0.2])
        found = TreeAdvantage(fusion=Fusion.softmax, edge_log_prob=choice).advantages(rewarded(rows, 4))
        assert found[0, :2].tolist() == pytest.approx([expected[0]] * 2) and found[2, 0] == pytest.approx(expected[1])


def test_without_a_branch_it_is_grpo_but_for_eps() -> None:
    rows = grown([(None, 0, 3), (None, 0, 5), (None, 0, 1), (None, 0, 2)] * 2, REWARDS, 4)
    found, expected = TreeAdvantage().advantages(rewarded(rows, 4)), GroupAdvantage(eps=1e-8)
    grpo_B1 = expected.advantages(rewarded(rows, 4)).reshape(-1, 1)
    assert torch.allclose(found, grpo_B1 * rewarded(rows, 4).mask_BT, atol=1e-12, rtol=0)


@pytest.mark.parametrize("fusion", list(Fusion))
def test_alike_leaves_have_no_advantage(fusion: Fusion) -> None:
    rows = grown(BALANCED, [0.1] * 8, 4)
    assert not TreeAdvantage(fusion=fusion).advantages(rewarded(rows, 4)).any()


@pytest.mark.parametrize(("apart", "scored"), [(1e-4, True), (1e-7, False)])
def test_only_a_deviation_below_a_millionth_is_none(apart: float, scored: bool) -> None:
    rewards = [0.5, 0.5 + apart, 0.5, 0.5 + apart]
    found = TreeAdvantage().advantages(rewarded(grown([(None, 0, 2)] * 4, rewards, 4), 4))
    assert found[:, 0].tolist() == (pytest.approx(z(rewards)) if scored else [0.0] * 4)


def test_each_edge_has_the_advantage_of_the_node_behind_it_among_those_of_its_depth() -> None:
    rewards = [0.0, 1.0, 0.5, 1.0]
    found = TreeAdvantage().advantages(rewarded(grown(UNEVEN, rewards, 4), 4))
    first = z([0.0, 0.75, 1.0])  # an early end, the stem of two leaves, a whole response
    last = z([1.0, 0.5])
    expected = torch.zeros(4, 7).double()
    expected[0, :2], expected[3, :3], expected[1:3, :4] = first[0], first[2], first[1]
    expected[1, 4:6], expected[2, 4:7] = last[0], last[1]
    assert torch.allclose(found, expected, atol=1e-12, rtol=0)


def test_a_node_that_is_alone_has_none_and_none_is_beyond_the_bound() -> None:
    found = TreeAdvantage(bound=0.5).advantages(rewarded(grown(BALANCED, REWARDS, 4), 4))
    assert not found[0, :2].any(), "the only first segment"
    assert float(found.abs().max()) == 0.5
    free = TreeAdvantage().advantages(rewarded(grown(BALANCED, REWARDS, 4), 4))
    assert torch.equal(found, free.clamp(-0.5, 0.5)) and float(free.abs().max()) > 0.5


def test_without_trajectories_it_says_what_it_needs() -> None:
    bare = Rewarded(torch.zeros(1, 2).double(), torch.ones(1, 2).long())
    with pytest.raises(RunFailed, match="2 rewards of 0 trajectories; expected the trajectories of a training step"):
        TreeAdvantage().advantages(bare)


def candidates(rows: list[Trajectory], group: int) -> Candidates:
    lengths = torch.tensor([len(one.completion.response_ids) for one in rows]).view(-1, group)
    return Candidates(torch.zeros(lengths.shape).double(), lengths, generator(0, "selection", 1), rows)


def kept(rule: BranchPrune, shape: list[tuple[int | None, int, int]], rewards: list[float]) -> list[list[int]]:
    """Of each response: the tokens with a loss that are left."""
    rows = grown(shape, rewards, 4)
    weights = rule.weights(candidates(rows, 4))
    if weights is None:
        return [list(range(one.loss_from, len(one.completion.response_ids))) for one in rows]
    assert set(weights.reshape(-1).tolist()) <= {0.0, 1.0}
    mask = rewarded(rows, 4).mask_BT
    return [
        [t for t in range(one.loss_from, mask.shape[1]) if weights[row, t] and mask[row, t]]
        for row, one in enumerate(rows)
    ]


def test_pruning_that_is_off_changes_nothing() -> None:
    for off in (BranchPrune(), BranchPrune(width=Width.best_of_split, ratio=0.0)):
        assert off.weights(candidates(grown(BALANCED, REWARDS, 4), 4)) is None
        assert not off.needs_weights and not off.state()
    whole = kept(BranchPrune(width=Width.best_of_split, ratio=0.01), BALANCED, REWARDS)
    assert whole == kept(BranchPrune(), BALANCED, REWARDS), "of two, all but a hundredth are two"


def test_by_width_the_best_of_each_last_split_stays_or_the_ends_of_each_tree() -> None:
    best = kept(BranchPrune(width=Width.best_of_split), BALANCED, REWARDS)
    # Splits of the last depth: leaves (0, 1), (2, 3), (4, 5), (6, 7); the segments above them stay.
    assert best[:4] == [[0, 1, 2, 3, 4, 5], [], [2, 3], [4, 5]]
    assert best[4:] == [[0, 1, 2, 3], [4, 5], [2, 3], [4]]
    ends = kept(BranchPrune(width=Width.best_and_worst), BALANCED, REWARDS)
    # Of four leaves the best and the worst, the earlier of equal ones the better: 1 and 0 (third); 1 (second) and 0.
    assert ends[:4] == [[0, 1, 2, 3, 4, 5], [], [2, 3, 4, 5, 6], []]
    assert ends[4:] == [[0, 1, 2, 3], [4, 5], [2, 3, 4, 5, 6, 7], []]


def test_only_what_is_behind_a_last_split_goes_by_width() -> None:
    rewards = [0.0, 0.5, 1.0, 0.0]
    assert kept(BranchPrune(width=Width.best_of_split), UNEVEN, rewards) == [[0, 1], [0, 1, 2, 3], [4, 5, 6], [0, 1, 2]]


def test_by_depth_a_window_wanders_from_the_first_to_the_last_and_begins_again() -> None:
    rule, seen = BranchPrune(depths=1, slide_every=2), []
    for _ in range(8):
        seen.append(kept(rule, BALANCED, REWARDS)[0])
    assert seen == [[2, 3, 4, 5]] * 2 + [[0, 1, 4, 5]] * 2 + [[0, 1, 2, 3]] * 2 + [[2, 3, 4, 5]] * 2
    assert kept(BranchPrune(depths=2), BALANCED, REWARDS)[0] == [4, 5]
    assert kept(BranchPrune(depths=3), BALANCED, REWARDS)[0] == [0, 1, 2, 3, 4, 5], "never every depth"


def test_where_the_window_stands_is_in_the_checkpoint() -> None:
    rule, again = BranchPrune(depths=1, slide_every=2), BranchPrune(depths=1, slide_every=2)
    for _ in range(3):
        kept(rule, BALANCED, REWARDS)
    again.restore(rule.state())
    assert [kept(rule, BALANCED, REWARDS) for _ in range(4)] == [kept(again, BALANCED, REWARDS) for _ in range(4)]
