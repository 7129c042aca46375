"""`sfpo-bench compare`: trains all arms and seeds, resumes what was interrupted, and writes figure and tables."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.cli.report import announce
from sfpo_bench.cli.sweep_file import tuning_file
from sfpo_bench.cli.train import check_before_torch, warn_of_few_problems
from sfpo_bench.experiments.comparison.arms import Arm, compose_arms
from sfpo_bench.experiments.comparison.runner import PreparedComparison, run_comparison
from sfpo_bench.experiments.sweep.plan import PreparedSweep
from sfpo_bench.experiments.sweep.tune import Tuned, tune_arms, write_tuning
from sfpo_bench.results.names import BESIDE_COMPARISONS, check_name, check_unlike
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.settings.overruled import SettingsReader, refuse_overruled
from sfpo_bench.settings.written import everything
from sfpo_bench.tracking.store_warnings import StoreWarnings
from sfpo_bench.workers.build import slot_count


def act(node: DictConfig) -> None:
    hydra = HydraConfig.get()
    name, overrides = str(hydra.job.config_name), list(hydra.overrides.task)
    refuse_overruled(SettingsReader.compare, everything(name, overrides), {"threads": node.comparison.threads})
    config = from_node(node)
    check_name("name", config.name, BESIDE_COMPARISONS)
    check_unlike(config.comparison_folder)
    arms = compose_arms(config, name, overrides)
    for arm in arms:
        own = from_node(arm.node)
        if (own.model, own.task) != (config.model, config.task):
            check_before_torch(own)
    check_before_torch(config)
    warn_of_few_problems(config, config.comparison.split)
    slots = slot_count(config.launching, config.comparison.slots)
    if not config.comparison.tune:
        with PreparedComparison.held(config, arms, slots) as comparison:
            announce(run_comparison(comparison))
        return
    warnings = StoreWarnings()
    arms, tuned = _tuned(config, arms, slots, warnings)
    with PreparedComparison.held(config, arms, slots) as comparison:
        table = write_tuning(comparison.folder, tuned)
        announce(run_comparison(comparison, warnings))
    say(f"tuning: {table}")


def _tuned(config: RunConfig, arms: list[Arm], slots: int, warnings: StoreWarnings) -> tuple[list[Arm], list[Tuned]]:
    """Tune every arm with its sweep; return the arms at their best settings, and the results of the tuning."""
    file = tuning_file(config.comparison.tune)
    assert file is not None  # a sweep is named
    hydra = HydraConfig.get()

    def run(plan: PreparedSweep) -> None:
        from sfpo_bench.experiments.sweep.runner import run_sweep

        run_sweep(plan, slots, warnings)

    name, overrides = str(hydra.job.config_name), list(hydra.overrides.task)
    settings, tuned = tune_arms(config, arms, name, overrides, file, run)
    config.comparison.arms = dict(settings)
    return compose_arms(config, name, overrides), tuned
