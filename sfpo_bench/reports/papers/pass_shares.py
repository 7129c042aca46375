"""The share u of one update pass in a step of published runs: a step with K further passes costs 1 + K u of it.

Of a publication with costs of a baseline and a method, u follows from hours and steps:

    (hours / steps of the method) / (hours / steps of the baseline) = 1 + K u

and of one that tells where the hours of its steps go, it is the training's share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sfpo_bench.reports.papers.published_results import Published, PublishedRow, published, published_data
from sfpo_bench.results.codec import from_plain


@dataclass(frozen=True, slots=True)
class StepHours:
    """Hours of a run by where they go; `training` takes one pass over the batch of a step."""

    model: str
    devices: str
    training: float
    rollout: float
    other: float


@dataclass(frozen=True, slots=True)
class Reference:
    """Another paper under the same protocol: `published/references/NAME.yaml`."""

    source: str
    title: str
    where: str
    protocol: str
    benchmarks: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    hours: tuple[StepHours, ...]


@dataclass(frozen=True, slots=True)
class PublishedShare:
    """The share of one pass in a step of one published run."""

    paper: str
    source: str
    model: str
    share: float


def references(found: Published) -> list[Reference]:
    """The papers that stand beside a publication."""
    places = [f"references/{name}" for name in found.references]
    return [from_plain(Reference, published_data(place), f"published {place}") for place in places]


@cache
def published_shares() -> tuple[PublishedShare, ...]:
    """The shares of all published runs that are known, by ascending share."""
    found = published()
    shares = [*_of_costs(found), *(share for one in references(found) for share in _of_hours(one))]
    return tuple(sorted(shares, key=lambda one: one.share))


def _of_costs(found: Published) -> list[PublishedShare]:
    ratios = {
        cost.model: cost.method.hours / cost.method.steps / (cost.baseline.hours / cost.baseline.steps)
        for cost in found.costs
    }
    return [
        PublishedShare(found.costs[0].method.name, found.source, model, (ratio - 1) / found.fast_passes)
        for model, ratio in ratios.items()
    ]


def _of_hours(found: Reference) -> list[PublishedShare]:
    return [
        PublishedShare(found.title, found.source, one.model, one.training / (one.training + one.rollout + one.other))
        for one in found.hours
    ]
