"""BranchGRPO's pruning: leaves edges of response trees out of the backward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.selections.protocol import Candidates, Selection
from sfpo_bench.algorithms.trees import Edge, edges, of_tokens
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from torch import Tensor

    from sfpo_bench.algorithms.protocols import RuleState


class Width(StrEnum):
    """The edges after a tree's last splits that are trained on, by the rewards of their responses.

    `every` keeps all, `best_of_split` the best of each split, `best_and_worst` half of the number from each end of the
    tree's ranking.
    """

    every = "every"
    best_of_split = "best_of_split"
    best_and_worst = "best_and_worst"


@dataclass
class BranchPrune(Facts, Selection):
    """Masks a share of the last edges (width) and a sliding window of depths (BranchGRPO, arXiv:2509.06040).

    Rewards and advantages use the whole tree, and masked tokens count in denominators. A fully masked response is not
    run. Unverified: the order of depths, the ranking of best and worst, and the denominators.
    """

    kind: str = option("branch_prune", "name of the selection")
    width: Width = option(Width.every, "last edges to keep: every, best_of_split, best_and_worst")
    ratio: float = option(0.5, "share of the last edges that is masked", low=0.0, below=1.0)
    depths: int = option(0, "number of adjacent depths that are masked; 0: none", low=0)
    slide_every: int = option(30, "training steps after which the masked depths move by one", low=1)

    paper = "2509.06040"
    trust = "?"
    changes = "edges of response trees are left out of the backward pass"
    unverified = (
        "ranking best and worst within a tree, masking the first depths first and wrapping around, never masking all "
        "depths, and counting masked tokens in denominators are our reading"
    )

    def __post_init__(self) -> None:
        self._steps = 0

    @property
    def needs_weights(self) -> bool:
        return (self.width is not Width.every and self.ratio > 0) or self.depths > 0

    def weights(self, candidates: Candidates) -> Tensor | None:
        import torch

        if not self.needs_weights:
            return None
        rows = candidates.trajectories
        tree = edges(rows)
        dropped = set(self._by_width(tree, [one.grade.reward for one in rows], candidates.advantages_PG.shape[1]))
        left_out = self.left_out(max(edge.depth for edge in tree))
        dropped |= {place for place, edge in enumerate(tree) if edge.depth in left_out}
        self._steps += 1
        kept = of_tokens(rows, tree, [float(place not in dropped) for place in range(len(tree))])
        return torch.tensor(list(zip_longest(*kept, fillvalue=0.0)), dtype=torch.float64).T

    def left_out(self, deepest: int) -> set[int]:
        """The depths (from 1) that this step masks in trees of depth `deepest`."""
        first = self._steps // self.slide_every
        return {1 + (first + number) % deepest for number in range(self.depths)} if self.depths < deepest else set()

    def _by_width(self, tree: Sequence[Edge], rewards: Sequence[float], group: int) -> Iterator[int]:
        """Indices of the last edges that are masked."""
        if self.width is Width.every:
            return
        deepest: dict[int, int] = {}
        for edge in tree:
            deepest[edge.row // group] = max(edge.depth, deepest.get(edge.row // group, 0))
        together: dict[tuple[int, int | None], list[int]] = {}
        for place, edge in enumerate(tree):
            if edge.depth == deepest[edge.row // group]:
                split = edge.above if self.width is Width.best_of_split else None
                together.setdefault((edge.row // group, split), []).append(place)
        for places in together.values():
            ordered = sorted(places, key=lambda place: -rewards[tree[place].row])  # stable: earlier first in ties
            kept = math.ceil((1 - self.ratio) * len(ordered))
            worst = kept // 2 if self.width is Width.best_and_worst else 0
            yield from ordered[kept - worst : len(ordered) - worst]

    def state(self) -> RuleState:
        return {"steps": self._steps} if self.needs_weights else {}

    def restore(self, state: RuleState) -> None:
        self._steps = int(state["steps"])  # type: ignore[arg-type]  # as `state` wrote it
