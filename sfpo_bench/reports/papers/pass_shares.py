"""The share u of one update pass in the time of a training step, from published runs.

A step with K additional passes takes 1 + K u times as long. For a publication with the costs of a baseline and a method

    (hours / steps of the method) / (hours / steps of the baseline) = 1 + K u

For a publication that splits the hours of a step into rollout, training and the rest, u is the share of training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sfpo_bench.reports.papers.published_results import Published, PublishedRow, published, published_data
from sfpo_bench.results.codec import from_plain


@dataclass(frozen=True, slots=True)
class StepHours:
    """Hours of a run by activity; `training` is one pass over the batch of each step."""

    model: str
    devices: str
    training: float
    rollout: float
    other: float


@dataclass(frozen=True, slots=True)
class ReferencePaper:
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


def references(found: Published) -> list[ReferencePaper]:
    """Return the papers that a publication is compared with."""
    places = [f"references/{name}" for name in found.references]
    return [from_plain(ReferencePaper, published_data(place), f"published {place}") for place in places]


@cache
def published_shares() -> tuple[PublishedShare, ...]:
    """Return the shares of all published runs in the package, in ascending order."""
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


def _of_hours(found: ReferencePaper) -> list[PublishedShare]:
    return [
        PublishedShare(found.title, found.source, one.model, one.training / (one.training + one.rollout + one.other))
        for one in found.hours
    ]
