"""Samplers whose every draw is a function of the study's seed, the trial number and the parameter.

Optuna's samplers keep a random generator across trials. A sweep that was killed and resumed would restart it, and
then repeat points or draw others than an uninterrupted sweep. Here each draw uses a new sampler, seeded by name, which
knows earlier trials only from the study. Random and grid search therefore choose the same points however often they
are interrupted and however many processes take part; with one slot this also holds for adaptive samplers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler

from sfpo_bench.core.seeding import generator, stream_key
from sfpo_bench.search.space import Point
from sfpo_bench.settings.search import SweepSampler

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

Make = Callable[[int], BaseSampler]


class Seeded(BaseSampler):
    """Wraps a sampler: each draw uses a new one, seeded by (seed, trial number, parameter)."""

    def __init__(self, make: Make, seed: int) -> None:
        self._make = make
        self._seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler(trial, "space").infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler(trial, "relative").sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        sampler = self._sampler(trial, f"parameter {param_name}")
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler(trial, "before").before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._sampler(trial, "after").after_trial(study, trial, state, values)

    def _sampler(self, trial: FrozenTrial, purpose: str) -> BaseSampler:
        return self._make(stream_key(self._seed, "sweep", trial.number, purpose) % 2**32)


class Grid(BaseSampler):
    """Assigns grid points to trials in an order shuffled by the seed, and restarts after the last point."""

    def __init__(self, points: Sequence[Point], seed: int) -> None:
        order = generator(seed, "sweep", "grid").permutation(len(points))
        self._points = [points[index] for index in order]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._points[trial.number % len(self._points)][param_name]


def sampler_of(kind: SweepSampler, seed: int, startup_trials: int, grid: Sequence[Point] = ()) -> BaseSampler:
    """Return the sampler of a study; `grid` holds the points of a grid search."""
    if kind is SweepSampler.grid:
        return Grid(grid, seed)
    kinds: dict[SweepSampler, Make] = {
        SweepSampler.random: lambda key: RandomSampler(seed=key),
        # constant_liar: running trials count as bad ones, so that parallel slots do not sample the same region.
        SweepSampler.tpe: lambda key: TPESampler(seed=key, n_startup_trials=startup_trials, constant_liar=True),
        SweepSampler.cmaes: lambda key: CmaEsSampler(
            seed=key, n_startup_trials=startup_trials, warn_independent_sampling=False
        ),
        SweepSampler.nsga2: lambda key: NSGAIISampler(seed=key, population_size=max(2, startup_trials)),
    }
    return Seeded(kinds[kind], seed)
