"""`--multirun` of `sfpo-bench train` as a sweep of this package: slots, pruning in flight, exact resume.

Hydra finds this module by the namespace package `hydra_plugins`, and imports it at every start: it must stay light.
"""

from __future__ import annotations

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# No dataclass: Hydra runs this file before it is a module that `dataclass` could find.
_NODE = {"_target_": "hydra_plugins.sfpo_bench_sweeper.sweeper.SfpoBenchSweeper"}
ConfigStore.instance().store(group="hydra/sweeper", name="sfpo_bench", node=_NODE, provider="sfpo_bench")


class SfpoBenchSweeper(Sweeper):
    """Turns `key=a,b`, `key=range(…)` and `key=interval(…)` into a space, and searches it like `sfpo-bench sweep`.

    The runs are trained by the slots of `launcher`; Hydra's launcher and its task function are not used.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context = hydra_context
        self._config = config

    def sweep(self, arguments: list[str]) -> None:
        """Search the space that the overrides span."""
        from sfpo_bench.cli.multirun import sweep_overrides

        loader = self._context.config_loader
        name = str(self._config.hydra.job.config_name)
        sweep_overrides(name, arguments, lambda overrides: loader.load_sweep_config(self._config, list(overrides)))
