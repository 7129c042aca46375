"""Short runs of packaged presets on the embedded arithmetic task."""

from __future__ import annotations

from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.settings.config import from_node

STEPS = 5
RUN_NAME = "run"
# With several mini-batches ratios differ from one in every step; some methods refuse them.
LAYOUTS = (("learner.mini_batches=2",), ("learner.mini_batches=1",))
# The batch is a quarter of the experiment's, and so is the learning rate: presets that multiply it must not unlearn.
SMALL = (
    "learner.learning_rate=1e-4",
    *("rollout.prompts=8", "rollout.group=8", f"run_name={RUN_NAME}", "tracking=none", f"training.steps={STEPS}"),
    *(f"training.evaluate_every={STEPS}", "training.checkpoint_every=2", "training.samples_every=5"),
    *("evaluation.responses=768", "evaluation.select_responses=0", "evaluation.greedy_problems=0"),
)


def overrides_of(preset: str, *more: str) -> tuple[str, ...]:
    """The overrides of a small run: several mini-batches, unless the method refuses them."""
    refusals = []
    for layout in LAYOUTS:
        overrides = (f"algorithm={preset}", *SMALL, *layout, *more)
        try:
            from_node(composed(*overrides))
        except ConfigError as error:
            refusals.append(str(error))
        else:
            return overrides
    raise ConfigError("; ".join(refusals))


def composed(*overrides: str) -> DictConfig:
    """The tree of `sfpo-bench train` with these overrides."""
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        return compose("train", list(overrides))
