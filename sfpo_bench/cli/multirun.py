"""`sfpo-bench train --multirun key=a,b …`: runs a sweep whose space is given on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from omegaconf import DictConfig, OmegaConf, open_dict

from sfpo_bench.cli.report import announce_sweep
from sfpo_bench.cli.train import check_before_torch
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.experiments.sweep.plan import plan_of, refuse_for_sweep, refuse_parameter
from sfpo_bench.search.overrides import split_overrides
from sfpo_bench.search.space import space_of
from sfpo_bench.settings.config import from_node
from sfpo_bench.settings.overrides import opened
from sfpo_bench.settings.search import Pruner, SweepSampler
from sfpo_bench.settings.written import everything
from sfpo_bench.training.run import plain_node
from sfpo_bench.workers.build import slot_count


def sweep_overrides(name: str, arguments: Sequence[str], load: Callable[[Sequence[str]], DictConfig]) -> None:
    """Search the space given by `arguments`; `load` composes the configuration `name` with overrides.

    If every parameter is a list of values and neither sampler nor number of trials is set, all combinations are
    tried without pruning, as Hydra's own sweeper does.
    """
    parameters, fixed = split_overrides(arguments)
    for parameter in parameters.values():
        refuse_parameter(parameter.key, f"--multirun {parameter.key}=...")

    def composed(further: Sequence[str]) -> DictConfig:
        return _without_hydra(load([opened(override) for override in (*fixed, *further)]))

    node = composed([])
    refuse_for_sweep(node, everything(name, fixed, primary_is_shared=True))
    node = plain_node(node, {"comparison": {}})
    named = {name: {**asdict(p), "kind": p.kind.value} for name, p in parameters.items()}
    with open_dict(node):
        # `to_container` of a mapping returns a dict.
        node.sweep.parameters = {**OmegaConf.to_container(node.sweep.parameters), **named}  # type: ignore[dict-item]
    config = from_node(node)
    asked = {override.partition("=")[0] for override in fixed}
    space = space_of(config.sweep.parameters)
    if not asked & {"sweep.sampler", "sweep.trials"} and all(parameter.grid() for parameter in space.parameters):
        config.sweep.sampler, config.sweep.trials = SweepSampler.grid, 0
        config.sweep.pruner = config.sweep.pruner if "sweep.pruner" in asked else Pruner.none
    if any(key.startswith("hydra/launcher") for key in asked):
        raise ConfigError("hydra/launcher is not used; choose where runs are trained with launcher=local, slurm or ray")
    plan = plan_of(config, composed)
    check_before_torch(config)
    from sfpo_bench.experiments.sweep.runner import run_sweep

    announce_sweep(run_sweep(plan, slot_count(config.launching, config.sweep.slots)))


def _without_hydra(node: DictConfig) -> DictConfig:
    """Return the configuration without Hydra's own node."""
    with open_dict(node):
        node.pop("hydra", None)
    return node
