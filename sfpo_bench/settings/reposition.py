"""Settings of the study that asks when reposition helps. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sfpo_bench.core.options import option


class Control(StrEnum):
    """Further rules beside SFPO and Repeat(K + 1): GXPO, Lookahead, or Repeat that stops on the approximate KL."""

    gxpo = "gxpo"
    lookahead = "lookahead"
    kl_stop = "kl_stop"


@dataclass
class ConditionSettings:
    """One condition of the study: what it changes, and which cells are run under it."""

    note: str = option("", "one line on what the condition changes, for the report")
    overrides: list[str] = option([], "Hydra overrides of all arms of the condition, such as `rollout.prompts=8`")
    sfpo_overrides: list[str] = option([], "Hydra overrides of SFPO's arms alone, such as those of its moments")
    rate_scale: float = option(
        1.0, "factor on the tuned rates, where the condition needs rates of another size", above=0.0
    )
    fast_passes: list[int] = option([], "K of SFPO; the control is Repeat(K + 1)", low=1)
    alphas: list[float] = option([], "alpha of SFPO; 1 is Repeat(K + 1) itself", above=0.0, below=1.0)
    rate_factors: list[float] = option([], "learning rates, as multiples of the one tuned for Repeat(K + 1)", above=0.0)
    controls: list[Control] = option([], "further rules: gxpo, lookahead, kl_stop")


@dataclass
class RepositionSettings:
    """The design of the study: conditions by name, and what its seeds are to detect."""

    conditions: dict[str, Any] = option({}, "the conditions by name; the first one is what the others change")
    difference: float = option(0.015, "difference of area that the seeds are to detect", above=0.0)
    spread: float = option(
        0.0, "standard deviation over seeds of such a difference, measured before; 0: not known", low=0.0
    )
    dropped: list[str] = option([], "what was left out of the full crossing, and why, one line each")
    step_seconds: float = option(
        0.0, "core-seconds of a step of 32 prompts but for its passes; for the estimated time", low=0.0
    )
    pass_seconds: float = option(0.0, "core-seconds of a pass over 32 prompts; for the estimated time", low=0.0)
