"""Instances of user-defined classes, created from their settings, with checked methods."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from itertools import groupby
from types import NoneType
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.algorithms.collectors.protocol import Collected, Collector
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.algorithms.protocols import (
    Advantage,
    Loss,
    Objective,
    Phases,
    Reference,
    Rewarded,
    StepMethod,
    UpdateRule,
)
from sfpo_bench.algorithms.selections.protocol import Candidates, Selection
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.plugins import Check, Custom, a, find, guarded, many, raised
from sfpo_bench.core.types import StageStats, Trajectory
from sfpo_bench.problems.protocol import TASK_CHECKS, Task
from sfpo_bench.settings.composition_errors import explain


def _check_advantages(found: object, rewarded: Rewarded) -> str:
    groups, tokens = tuple(rewarded.rewards_PG.shape), tuple(rewarded.mask_BT.shape)
    right = tuple(getattr(found, "shape", ())) in (groups, tokens)
    return "" if right else f"a tensor of shape {groups}, a response each, or {tokens}, a response token each"


def _check_weights(found: object, candidates: Candidates) -> str:
    shape, lengths_PG = tuple(candidates.advantages_PG.shape), candidates.lengths_PG
    tokens = (lengths_PG.numel(), int(lengths_PG.max()))
    if found is None:
        return ""
    if tuple(getattr(found, "shape", ())) not in (shape, tokens):
        return f"None, or a tensor of shape {shape}, a weight each, or {tokens}, one of each response token"
    weights: Any = found
    return "" if bool(((weights >= 0) & (weights < math.inf)).all()) else "finite weights of at least 0"


def _check_part(found: object, step: int) -> str:
    right = isinstance(found, (int, float)) and not isinstance(found, bool) and 0 <= found <= 1
    return "" if right else "a number from 0 to 1"


def _check_collected(found: object, *_: object) -> str:
    wanted = "a sfpo_bench.algorithms.Collected of trajectories in groups of equal size, those of a group in a row"
    if not isinstance(found, Collected) or not all(isinstance(one, Trajectory) for one in found.trajectories):
        return wanted
    fresh = [one.group for one in found.trajectories if one.advantages is None]
    runs = [len(list(run)) for _, run in groupby(fresh)]
    if len(set(runs)) != 1 or len(runs) != len(set(fresh)):
        return wanted
    lengths = [len(one.completion.response_ids) for one in found.trajectories]
    brought = zip(lengths, ((one.advantages, one.old_log_probs) for one in found.trajectories), strict=True)
    fits = all(len(a or (0,)) in (1, n) and len(p or range(n)) == n for n, (a, p) in brought)
    return "" if fits else "advantages and old log-probs, where a trajectory brings them, one of each response token"


def _check_returns(found: object, rewarded: Rewarded) -> str:
    tokens = tuple(rewarded.mask_BT.shape)
    return "" if tuple(getattr(found, "shape", ())) == tokens else f"a tensor of shape {tokens}, a response token each"


def _check_share(found: object, name: str, rewarded: Rewarded, source: object) -> str:
    groups = tuple(rewarded.rewards_PG.shape)
    right = tuple(getattr(found, "shape", ())) == groups and str(getattr(found, "dtype", "")) == "torch.bool"
    return "" if right else f"a tensor of booleans of shape {groups}, a response each"


def _check_losses(found: object, name: str, scores_BT: object, returns_BT: object) -> str:
    tokens = tuple(getattr(scores_BT, "shape", ()))
    return "" if tuple(getattr(found, "shape", ())) == tokens else f"a tensor of shape {tokens}, a response token each"


# Checks of the results of a user-defined class's methods.
CHECKS: Mapping[type, Mapping[str, Check]] = {
    Task: TASK_CHECKS,
    Collector: {"collect": _check_collected, "observe": a(NoneType), "state": a(Mapping), "restore": a(NoneType)},
    Advantage: {"advantages": _check_advantages, "returns": _check_returns},
    Modules: {"share": _check_share, "losses": _check_losses, "rate_of": a(float), "passes_of": a(int)},
    Selection: {"weights": _check_weights, "state": a(Mapping), "restore": a(NoneType)},
    Objective: {"loss": a(Loss), "observe": a(NoneType), "state": a(Mapping), "restore": a(NoneType)},
    Reference: {"follow": _check_part},
    Phases: {"at": a(StepMethod)},
    UpdateRule: {
        "update": many(StageStats),
        "observe": a(bool),
        "metrics": a(Mapping),
        "state": a(Mapping),
        "restore": a(NoneType),
    },
}


def instance_of(node: Any, key: str, seam: type) -> Any:
    """The object of a node; for a `Custom` node an instance of the user-defined class."""
    if not isinstance(node, Custom):
        return node
    cls = find(node.factory, f"{key}.factory")
    try:
        if isinstance(cls, type) and dataclasses.is_dataclass(cls):
            made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), node.options))
        else:
            made = cls(**node.options)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, f"{key}.options")) from error
    except TypeError as error:
        raise ConfigError(f"{key}.options = {node.options} do not fit {node.factory}: {error}") from error
    except ConfigError:
        raise
    except Exception as error:
        # User code may raise anything.
        raise ConfigError(f"{key}.factory = {node.factory} {raised(error)}; fix the class or its options") from error
    lacking = [name for name in _members(seam) if not _has(made, name, f"{key}.factory = {node.factory}")]
    # A protocol with abstract methods has defaults for the rest; one without requires all members.
    required = getattr(seam, "__abstractmethods__", frozenset()) or frozenset(_members(seam))
    missing = [name for name in lacking if name in required]
    if missing:
        raise ConfigError(
            f"{key}.factory = {node.factory}: the class lacks {', '.join(missing)}; "
            f"see {seam.__module__}.{seam.__name__} for what it must have"
        )
    return guarded(made, CHECKS[seam], node.factory, {name: vars(seam)[name] for name in lacking})


def _has(made: object, name: str, where: str) -> bool:
    try:
        return hasattr(made, name)
    except Exception as error:  # a property of a user-defined class
        raise ConfigError(f"{where}: {name} {raised(error)}; fix the class") from error


def _members(seam: type) -> list[str]:
    return [name for name in vars(seam) if not name.startswith("_")]
