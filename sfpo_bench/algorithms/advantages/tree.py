"""BranchGRPO's advantages: each edge of a response tree has the advantage of the node at its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from statistics import fmean
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.advantages.group import require_groups
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Advantage, Rewarded
from sfpo_bench.algorithms.trees import edges, mean_of_leaves, of_tokens, scored_by_depth, weighted_by_probability
from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class Fusion(StrEnum):
    """The reward of a node.

    `mean` is the mean over the leaves below it. `softmax` averages the child nodes level by level, weighted by
    softmax(log p) of their edges.
    """

    mean = "mean"
    softmax = "softmax"


class EdgeLogProb(StrEnum):
    """log p of an edge: the sum over its tokens, which makes the softmax nearly one-hot, or their mean."""

    sum = "sum"
    token_mean = "token_mean"


@dataclass
class TreeAdvantage(Facts, Advantage):
    """A = z-score of the node's reward over the nodes of that depth in its tree (BranchGRPO, arXiv:2509.06040).

    All tokens of an edge have the advantage of the node at its end, clipped to `bound`. A group without branches has
    one depth and GRPO's advantages, except for eps = 1e-8. log p is the engine's. Unverified: the form for text, which
    is ours.
    """

    kind: str = option("tree", "name of the advantage")
    fusion: Fusion = option(Fusion.mean, "reward of a node: mean of its leaves, or softmax of the edges' log p")
    edge_log_prob: EdgeLogProb = option(EdgeLogProb.sum, "log p of an edge for softmax: sum or token_mean")
    bound: float = option(5.0, "advantages are clipped to +-bound", above=0.0)

    paper = "2509.06040"
    changes = "tokens are compared with alternatives at the same depth of a tree"
    trust = "?"
    unverified = "the form for text is ours: an edge is a segment of tokens (the paper has steps of a diffusion)"

    def check(self, key: str, group: int) -> None:
        require_groups(key, group)

    def advantages(self, rewarded: Rewarded) -> Tensor:
        import torch

        rows, rewards = rewarded.trajectories, rewarded.rewards_PG.reshape(-1).tolist()
        if len(rows) != len(rewards):
            raise RunFailed(
                f"algorithm.advantage.kind = tree was given {len(rewards)} rewards of {len(rows)} trajectories; "
                "expected the trajectories of a training step, from which it knows the trees"
            )
        tree = edges(rows)
        if self.fusion is Fusion.mean:
            values = mean_of_leaves(tree, rewards)
        else:
            own = [rows[edge.row].completion.log_probs[edge.first : edge.end] for edge in tree]
            summed = self.edge_log_prob is EdgeLogProb.sum
            values = weighted_by_probability(tree, rewards, [sum(one) if summed else fmean(one) for one in own])
        scores = scored_by_depth(tree, values, rewarded.rewards_PG.shape[1])
        clipped = [min(max(score, -self.bound), self.bound) for score in scores]
        return torch.tensor(list(zip_longest(*of_tokens(rows, tree, clipped), fillvalue=0.0)), dtype=torch.float64).T
