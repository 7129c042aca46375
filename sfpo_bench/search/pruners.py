"""Optuna pruners. A reported step is a rung of the budget, counted over the seeds; with wilcoxon it is a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfpo_bench.settings.search import Pruner, SweepSettings

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def pruner_of(settings: SweepSettings) -> BasePruner:
    """Return Optuna's pruner for these settings."""
    from optuna import pruners

    startup, warmup, factor = settings.startup_trials, settings.warmup_rungs, settings.reduction_factor
    rungs = settings.rungs * settings.seeds
    match settings.pruner:
        case Pruner.median:
            return pruners.MedianPruner(startup, warmup)
        case Pruner.percentile:
            return pruners.PercentilePruner(settings.percentile, startup, warmup)
        case Pruner.successive_halving:
            return pruners.SuccessiveHalvingPruner(min_resource=max(1, warmup), reduction_factor=factor)
        case Pruner.hyperband:
            return pruners.HyperbandPruner(max(1, warmup), rungs, factor)
        case Pruner.wilcoxon:
            return pruners.WilcoxonPruner(p_threshold=settings.p_threshold, n_startup_steps=2)
    return pruners.NopPruner()
