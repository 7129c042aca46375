"""Response trees: edges, depths, and the rewards and advantages of nodes.

A response that branched from another shares its first tokens (`Trajectory.parent`, `loss_from`). An edge is a run of
tokens between two branching points; its node is at its end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from sfpo_bench.core.types import Trajectory


@dataclass(frozen=True, slots=True)
class Edge:
    """The tokens [first, end) of the response at index `row`, which has their loss.

    `above` is the index of the preceding edge, None for an edge that starts at the prompt, whose `depth` is 1.
    """

    row: int
    first: int
    end: int
    depth: int
    above: int | None
    is_leaf: bool


def edges(rows: Sequence[Trajectory]) -> list[Edge]:
    """The edges of a step's trees, row by row; each edge comes after the one above it."""
    cuts: list[set[int]] = [set() for _ in rows]
    for one in rows:
        if one.parent is not None and one.loss_from:
            cuts[_owner(rows, one.parent, one.loss_from - 1)].add(one.loss_from)
    found: list[Edge] = []
    # Edge indices by row and end token.
    ending: dict[tuple[int, int], int] = {}
    for row, one in enumerate(rows):
        above = None
        if one.parent is not None and one.loss_from:
            above = ending[_owner(rows, one.parent, one.loss_from - 1), one.loss_from]
        length = len(one.completion.response_ids)
        places = sorted({one.loss_from, *cuts[row], length})
        for first, end in pairwise(places):
            depth = 1 if above is None else found[above].depth + 1
            found.append(Edge(row, first, end, depth, above, end == length))
            above = ending[row, end] = len(found) - 1
    return found


def _owner(rows: Sequence[Trajectory], row: int, token: int) -> int:
    """The response that has the loss of a token of the response at `row`."""
    while token < rows[row].loss_from:
        parent = rows[row].parent
        if parent is None:
            break
        row = parent
    return row


def mean_of_leaves(tree: Sequence[Edge], rewards: Sequence[float]) -> list[float]:
    """The mean reward of the leaves below each edge's node."""
    sums, leaves = [0.0] * len(tree), [0] * len(tree)
    for place in reversed(range(len(tree))):
        edge = tree[place]
        if edge.is_leaf:
            sums[place] += rewards[edge.row]
            leaves[place] += 1
        if edge.above is not None:
            sums[edge.above] += sums[place]
            leaves[edge.above] += leaves[place]
    return [total / count for total, count in zip(sums, leaves, strict=True)]


def weighted_by_probability(tree: Sequence[Edge], rewards: Sequence[float], log_probs: Sequence[float]) -> list[float]:
    """The reward of each edge's node: the softmax(log p)-weighted mean over its child edges, level by level.

    `log_probs` is the log p of each edge.
    """
    below: list[list[int]] = [[] for _ in tree]
    for place, edge in enumerate(tree):
        if edge.above is not None:
            below[edge.above].append(place)
    values = [rewards[edge.row] if edge.is_leaf else math.nan for edge in tree]
    for place in reversed(range(len(tree))):
        if not tree[place].is_leaf:
            largest = max(log_probs[child] for child in below[place])
            odds = [math.exp(log_probs[child] - largest) for child in below[place]]
            total = sum(chance * values[child] for chance, child in zip(odds, below[place], strict=True))
            values[place] = total / sum(odds)
    return values


def scored_by_depth(tree: Sequence[Edge], values: Sequence[float], group: int) -> list[float]:
    """The z-scores (value - mean) / (std + 1e-8) over the nodes of one depth in one tree of `group` responses.

    `std` is the sample standard deviation. The score is 0 for a single node, and where the deviation is below 1e-6.
    """
    levels: dict[tuple[int, int], list[int]] = {}
    for place, edge in enumerate(tree):
        levels.setdefault((edge.row // group, edge.depth), []).append(place)
    found = [0.0] * len(tree)
    for level in levels.values():
        mean = fmean(values[place] for place in level)
        squares = sum((values[place] - mean) ** 2 for place in level)
        std = math.sqrt(squares / (len(level) - 1)) if len(level) > 1 else 0.0
        if std >= 1e-6:
            for place in level:
                found[place] = (values[place] - mean) / (std + 1e-8)
    return found


def of_tokens(rows: Sequence[Trajectory], tree: Sequence[Edge], values: Sequence[float]) -> list[list[float]]:
    """The value of each response token's edge, including tokens shared with a parent."""
    found = [[0.0] * len(one.completion.response_ids) for one in rows]
    for edge, value in zip(tree, values, strict=True):
        found[edge.row][edge.first : edge.end] = [value] * (edge.end - edge.first)
    for row, one in enumerate(rows):
        if one.parent is not None:
            found[row][: one.loss_from] = found[one.parent][: one.loss_from]
    return found
