"""GRPO's rollouts: a group of responses to each problem of the step."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, RolloutSource
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.core.options import option


@dataclass
class GroupCollector(Facts, Collector):
    """`rollout.group` responses to each problem of the step (arXiv:2402.03300)."""

    kind: str = option("group", "name of the collector")

    paper = "2402.03300"
    changes = "a group of responses to each problem"

    def collect(self, source: RolloutSource) -> Collected:
        return Collected(source.roll_out(source.problems))
