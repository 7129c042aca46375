"""`sfpo-bench sweep NAME|FILE`: searches a space, resumable, and writes figures and tables."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sfpo_bench.cli.report import announce_sweep
from sfpo_bench.cli.train import check_before_torch
from sfpo_bench.experiments.sweep.plan import composer, plan_of, refuse_conflicts, refuse_for_sweep
from sfpo_bench.results.names import check_unlike
from sfpo_bench.settings.config import from_node
from sfpo_bench.settings.written import everything, in_overrides
from sfpo_bench.training.run import plain_node
from sfpo_bench.workers.build import slot_count


def act(node: DictConfig) -> None:
    hydra = HydraConfig.get()
    name, overrides = str(hydra.job.config_name), list(hydra.overrides.task)
    config = from_node(plain_node(node, {"comparison": {}}))  # a sweep ignores an experiment's arms
    refuse_for_sweep(node, everything(name, overrides))
    plan = plan_of(config, composer(name, overrides))
    refuse_conflicts(plan.space, in_overrides(overrides))  # a file may set the start of the search
    check_unlike(plan.folder)
    check_before_torch(config)
    slots = slot_count(config.launching, config.sweep.slots)
    from sfpo_bench.experiments.sweep.runner import run_sweep

    announce_sweep(run_sweep(plan, slots))
