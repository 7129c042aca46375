"""Experience replay: adds responses of earlier steps, sampled by |A|, to those of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from sfpo_bench.algorithms.collectors.plain_trajectories import trajectory_of, written
from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, CollectorState, RolloutSource
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.core.options import option
from sfpo_bench.core.types import Trajectory

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor


@dataclass
class Replay(Facts, Collector):
    """All responses of the step plus `ratio` times as many replayed ones, drawn by (|A| + 1e-6)^exponent (2606.04560).

    They are drawn without replacement (arXiv:2606.04560). A replayed response keeps its advantage and the engine's
    log-probs from when it was sampled, to which its ratio is taken. Replayed responses are spread over the groups of
    the step, so that mini-batches have equal shares. For per-token advantages the mean of |A| counts. A ratio of 0 is
    GRPO's batch, bit for bit.
    """

    kind: str = option("replay", "name of the collector")
    ratio: float = option(0.5, "replayed responses per response of the step", low=0.0)
    exponent: float = option(0.5, "power of |A| in the sampling weight; 0: uniform", low=0.0)
    max_age: int = option(10, "training steps after which a response is no longer replayed", low=1)
    warmup_steps: int = option(20, "training steps before the first draw", low=0)
    capacity: int = option(30_000, "size of the buffer in responses; the oldest are removed first", low=1)

    paper = "2606.04560"
    trust = "T"
    changes = "responses of earlier steps are replayed, sampled by |A|, with ratios to the policy that sampled them"
    extra_passes = "`ratio` times the rows of each pass"

    @property
    def whole_responses(self) -> bool:
        return self.ratio == 0

    def trained(self, group: int) -> int:
        return group + int(self.ratio * group) if group > 1 else group  # no replay for groups of one

    def __post_init__(self) -> None:
        self._updates = 0
        # Pairs of the number of updates before sampling and the trajectory.
        self._buffer: list[tuple[int, Trajectory]] = []

    def collect(self, source: RolloutSource) -> Collected:
        fresh = source.roll_out(source.problems)
        drawn = self._drawn(int(self.ratio * len(fresh)), source.draws("replay"))
        ages = [float(self._updates - born) for born, _ in drawn]
        found = {"replayed_responses": float(len(drawn)), "replay_buffer_responses": float(len(self._buffer))}
        return Collected(
            among(fresh, [one for _, one in drawn]), found | ({"replay_age_mean": fmean(ages)} if ages else {})
        )

    def observe(self, trajectories: Sequence[Trajectory], advantages_BT: Tensor) -> None:
        if self.ratio:
            for one, row in zip(trajectories, advantages_BT.tolist(), strict=True):
                own = tuple(row[: len(one.completion.response_ids)])
                self._buffer.append((self._updates, replace(one, advantages=own)))
        self._updates += 1
        young = [(born, one) for born, one in self._buffer if self._updates - born <= self.max_age]
        self._buffer = young[-self.capacity :]

    def _drawn(self, count: int, draws: Generator) -> list[tuple[int, Trajectory]]:
        if not count or not self._buffer or self._updates < self.warmup_steps:
            return []
        sizes = np.array([np.abs(one.advantages or (0.0,)).mean() for _, one in self._buffer])
        # The top entries of log weight + Gumbel noise are weighted draws without replacement.
        keys = self.exponent * np.log(sizes + 1e-6) + draws.gumbel(size=len(sizes))
        return [self._buffer[place] for place in sorted(np.argsort(-keys, kind="stable")[:count].tolist())]

    def state(self) -> CollectorState:
        born = [{"updates": updates, **written(one)} for updates, one in self._buffer]
        return {"updates": self._updates, "born": born}

    def restore(self, state: CollectorState) -> None:
        self._updates = state["updates"]  # type: ignore[assignment]  # as `state` wrote it
        self._buffer = [(one["updates"], trajectory_of(one)) for one in state["born"]]  # type: ignore  # the same


def among(fresh: Sequence[Trajectory], drawn: Sequence[Trajectory]) -> list[Trajectory]:
    """The groups of `fresh`, each followed by an equal share of `drawn`, with their old log-probs set."""
    groups = [list(group) for _, group in groupby(fresh, key=lambda one: one.group)]
    found: list[Trajectory] = []
    for number, group in enumerate(groups):
        part = drawn[len(drawn) * number // len(groups) : len(drawn) * (number + 1) // len(groups)]
        again = [replace(one, group=group[0].group, old_log_probs=one.completion.log_probs) for one in part]
        found += [*group, *again]
    return found
