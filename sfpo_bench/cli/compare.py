"""`sfpo-bench compare`: arms × seeds, side by side, resumable, then figure and tables."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sfpo_bench.cli.report import announce
from sfpo_bench.cli.train import check_before_torch
from sfpo_bench.comparison.arms import compose_arms
from sfpo_bench.comparison.runner import Comparison, run_comparison
from sfpo_bench.config import from_node
from sfpo_bench.launchers.build import slot_count


def act(node: DictConfig) -> None:
    config = from_node(node)
    hydra = HydraConfig.get()
    arms = compose_arms(config, str(hydra.job.config_name), list(hydra.overrides.task))
    for arm in arms:
        own = from_node(arm.node)
        if (own.model, own.task) != (config.model, config.task):
            check_before_torch(own)
    check_before_torch(config)
    slots = slot_count(config.launching, config.comparison.slots)
    announce(run_comparison(Comparison.settle(config, arms, slots)))
