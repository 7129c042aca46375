"""Trees of responses: which tokens are one edge, how deep it lies, and what its rewards and advantages are.

A response that branched from another one shares its first tokens (`Trajectory.parent`, `loss_from`). Tokens between two
places where a response began or branched are an edge; the node behind it is what it leads to. Pure functions.
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
    """Response tokens `first` to before `end` of the response at place `row`, which bears their loss. `above` is the
    place of the edge before it in the list of edges, None behind the prompt, where `depth` is 1."""

    row: int
    first: int
    end: int
    depth: int
    above: int | None
    is_leaf: bool


def edges(rows: Sequence[Trajectory]) -> list[Edge]:
    """The edges of a step's trees, row by row; an edge stands behind the one above it."""
    cuts: list[set[int]] = [set() for _ in rows]
    for one in rows:
        if one.parent is not None and one.loss_from:
            cuts[_owner(rows, one.parent, one.loss_from - 1)].add(one.loss_from)
    found: list[Edge] = []
    # Edges by the response that bears their loss and the token behind them.
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
    """The response that bears the loss of a token of the response at `row`."""
    while token < rows[row].loss_from:
        parent = rows[row].parent
        if parent is None:
            break
        row = parent
    return row


def mean_of_leaves(tree: Sequence[Edge], rewards: Sequence[float]) -> list[float]:
    """Of the node behind each edge: the mean reward of the responses that end below it."""
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
    """Of the node behind each edge, level by level: sum over the edges below it of softmax(log p) x their rewards;
    `log_probs` has the log p of each edge."""
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
    """(value - mean) / (std + 1e-8) over the nodes of one depth in one tree of `group` responses, with the sample
    standard deviation; 0 for a node that is alone there, and where the deviation is below 1e-6."""
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
    """The value of the edge that each response token lies on, those of the tokens shared with a parent included."""
    found = [[0.0] * len(one.completion.response_ids) for one in rows]
    for edge, value in zip(tree, values, strict=True):
        found[edge.row][edge.first : edge.end] = [value] * (edge.end - edge.first)
    for row, one in enumerate(rows):
        if one.parent is not None:
            found[row][: one.loss_from] = found[one.parent][: one.loss_from]
    return found
