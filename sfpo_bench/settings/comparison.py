"""Settings of comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import Split
from sfpo_bench.results import names


@dataclass
class ArmSettings:
    """One arm of a comparison, as changes of the configuration."""

    label: str = option("", "name in tables and figures; empty: the arm's key")
    note: str = option("", "one-line description of the arm")
    overrides: list[str] = option([], "Hydra overrides of this arm, such as `algorithm=sfpo`")
    like: str = option("", "another arm whose overrides are applied first; this arm adds its own")
    tune: bool = option(True, "search this arm's settings when comparison.tune names a sweep")
    tuned_as: str = option("", "another arm whose tuned settings this arm uses instead of its own search")


@dataclass
class ComparisonSettings:
    """Arms, seeds, targets and reporting; read by `compare`, ignored by `train`."""

    arms: dict[str, Any] = option({}, "the arms by key, in display order: overrides, like, label, note")
    baseline: str = option("", "reference arm of ratios")
    split: Split = option(Split.report, "split of the curves: report, or select when choosing a setting")
    seeds: int = option(10, "seeds per arm", low=1)
    first_seed: int = option(0, "first seed; the others follow", low=0)
    targets: list[float] = option(
        [], "target accuracies whose cost is reported, fixed before the run", above=0.0, high=1.0
    )
    slots: int = option(0, "parallel runs; 0: one per CPU core", low=0)
    threads: int = option(1, "threads of each run", low=1)
    tune: str = option("", "a sweep, by name or file, that first tunes every arm; `tune=NAME` for short")
    reuse: list[str] = option([], "folders of comparisons, sweeps or studies whose identical finished runs are reused")
    new_on_change: bool = option(
        False, "start a new comparison when settings or code have changed, instead of an error"
    )


def check_comparison(comparison: ComparisonSettings) -> None:
    if comparison.arms and comparison.baseline not in comparison.arms:
        raise ConfigError(
            f"comparison.baseline = {comparison.baseline!r} is not an arm; the arms are {', '.join(comparison.arms)}"
        )
    for arm in comparison.arms:
        if not arm.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(
                f"comparison.arms has the key {arm!r}; expected letters, digits, - and _, since it names a folder"
            )
        names.check_name("an arm of comparison.arms", arm)
    names.check_distinct("comparison.arms", comparison.arms)
    labels = [settings.label.strip() or arm for arm, settings in comparison.arms.items()]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"comparison.arms has the labels {', '.join(labels)}; expected every one once")
