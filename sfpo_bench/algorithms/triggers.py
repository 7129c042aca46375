"""Triggers, which switch the fast stage off permanently based on one number per step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import RuleState
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option


class Signal(StrEnum):
    """The quantity that a trigger watches.

    `entropy` is the policy's. `slow_gradient_norm` is the gradient norm of the step's last pass before clipping,
    averaged over its optimizer steps.
    """

    entropy = "entropy"
    slow_gradient_norm = "slow_gradient_norm"


@dataclass
class Trigger(Facts):
    """Never fires; the base class of triggers. A trigger that has `fired` stays fired."""

    kind: str = option("none", "name of the trigger")

    changes = "the fast stage is never switched off"
    watches: ClassVar[Signal] = Signal.entropy

    @property
    def fired(self) -> bool:
        """True when the fast stage is switched off."""
        return False

    def check(self, key: str) -> None:
        """Raise `ConfigError` for contradictory settings; `key` is the trigger's key."""

    def observe(self, step: int, entropy: float) -> bool:
        """Receive the entropy (or other watched quantity) of step `step`; return True when the trigger fires.

        A trigger takes effect from the next step.
        """
        return False

    def metrics(self) -> Mapping[str, float]:
        """Metrics of the step just observed."""
        return {}

    def state(self) -> RuleState:
        """The state for the checkpoint."""
        return {}

    def restore(self, state: RuleState) -> None:
        """Load what `state` returned."""


@dataclass
class FixedStep(Trigger):
    """Fires at the end of step `last_step`: the fast stage runs in steps 1 … last_step."""

    kind: str = option("fixed_step", "name of the trigger")
    last_step: int = option(100, "last training step with a fast stage", low=0)

    paper = "2510.04072"
    changes = "no fast stage after a fixed step"

    def __post_init__(self) -> None:
        self._fired = False

    @property
    def fired(self) -> bool:
        return self._fired or self.last_step == 0

    def observe(self, step: int, entropy: float) -> bool:
        fires = not self._fired and step >= self.last_step
        self._fired = self._fired or fires
        return fires

    def state(self) -> RuleState:
        return {"fired": self._fired}

    def restore(self, state: RuleState) -> None:
        self._fired = bool(state["fired"])


@dataclass
class EntropyZScore(Trigger):
    """Fires when the policy entropy leaves its recent range (arXiv:2510.04072, Algorithm 1).

        Z_s = (H_s - mean) / (std + eps)   over the last `window` entropies, H_s included, population std

    `two_sided` fires at |Z_s| >= threshold (the paper's text); otherwise it fires at Z_s >= threshold, a rise of
    entropy (the published runs). It never fires before the window is full. Since the window includes H_s, |Z_s| cannot
    exceed sqrt(window - 1), and a larger threshold is an error.
    """

    kind: str = option("entropy_zscore", "name of the trigger")
    window: int = option(30, "number of steps in the rolling window, including the current one", low=2)
    threshold: float = option(1.0, "z-score at which the trigger fires", above=0.0)
    two_sided: bool = option(False, "fire also when entropy falls")
    eps: float = option(1e-9, "added to the standard deviation", low=0.0)

    paper = "2510.04072"
    changes = "no fast stage once the policy's entropy leaves its recent range"

    def __post_init__(self) -> None:
        self._entropies: list[float] = []
        self._fired = False

    def check(self, key: str) -> None:
        largest = math.sqrt(self.window - 1)
        if self.threshold > largest:
            raise ConfigError(
                f"{key}.threshold = {self.threshold:g} can never be reached: with a window of {self.window} the "
                f"largest z-score is sqrt(window - 1) = {largest:.3f}; lower the threshold or set {key}.window to at "
                f"least {math.ceil(self.threshold**2) + 1}"
            )

    @property
    def fired(self) -> bool:
        return self._fired

    def observe(self, step: int, entropy: float) -> bool:
        self._entropies = [*self._entropies, entropy][-self.window :]
        z = self._z()
        fires = not self._fired and z is not None and (abs(z) if self.two_sided else z) >= self.threshold
        self._fired = self._fired or fires
        return fires

    def metrics(self) -> Mapping[str, float]:
        z = self._z()
        return {} if z is None else {"trigger_z": z}

    def state(self) -> RuleState:
        return {"fired": self._fired, "entropies": list(self._entropies)}

    def restore(self, state: RuleState) -> None:
        entropies = state["entropies"]
        assert isinstance(entropies, list)
        self._fired, self._entropies = bool(state["fired"]), [float(entropy) for entropy in entropies]

    def _z(self) -> float | None:
        return z_score(self._entropies, self.eps) if len(self._entropies) == self.window else None


def z_score(window: Sequence[float], eps: float) -> float:
    """(last - mean) / (std + eps) of the window, with population standard deviation."""
    mean = math.fsum(window) / len(window)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in window) / len(window))
    return (window[-1] - mean) / (std + eps) if std + eps > 0 else 0.0
