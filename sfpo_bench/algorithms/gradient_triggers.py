"""Triggers on the norm of the corrective gradient, which end GXPO's extrapolation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sfpo_bench.algorithms.protocols import RuleState
from sfpo_bench.algorithms.triggers import Signal, Trigger
from sfpo_bench.core.options import option


@dataclass
class GradientNormAverage(Trigger):
    """Fires when the gradient norm leaves its moving average (GXPO, arXiv:2605.06755v1, Algorithm 1).

        Z = (n - mean) / (std + 1e-8)
        std^2 <- (1 - decay) std^2 + decay (n - mean)^2, std at least 0.01,    mean <- (1 - decay) mean + decay n

    It fires at |Z| >= threshold. As in the authors' first code, the average starts with mean 1 and std 1, so norms far
    from 1 fire immediately unless `first_steps` skips them.
    """

    kind: str = option("gradient_norm_average", "name of the trigger")
    decay: float = option(0.1, "weight of the current norm in the average", above=0.0, high=1.0)
    threshold: float = option(0.5, "z-score at which the trigger fires", above=0.0)
    two_sided: bool = option(True, "fire also when the norm falls")
    first_steps: int = option(0, "initial steps that update the average but cannot fire; 2 in later code", low=0)

    paper = "2605.06755"
    changes = "no extrapolation once the corrective gradient's norm leaves its moving average"
    watches = Signal.slow_gradient_norm

    def __post_init__(self) -> None:
        self._mean = self._std = 1.0
        self._z = math.nan
        self._seen = 0
        self._fired = False

    @property
    def fired(self) -> bool:
        return self._fired

    def observe(self, step: int, entropy: float) -> bool:
        distance = entropy - self._mean
        self._z = distance / (self._std + 1e-8)
        self._std = max(0.01, math.sqrt((1 - self.decay) * self._std**2 + self.decay * distance**2))
        self._mean += self.decay * distance
        self._seen += 1
        judged = self._seen > self.first_steps and not self._fired
        fires = judged and (abs(self._z) if self.two_sided else self._z) >= self.threshold
        self._fired = self._fired or fires
        return fires

    def metrics(self) -> Mapping[str, float]:
        return {} if math.isnan(self._z) else {"trigger_z": self._z}

    def state(self) -> RuleState:
        return {"fired": self._fired, "mean": self._mean, "std": self._std, "seen": self._seen}

    def restore(self, state: RuleState) -> None:
        mean, std, seen = state["mean"], state["std"], state["seen"]
        assert isinstance(mean, float) and isinstance(std, float) and isinstance(seen, int)
        self._fired, self._mean, self._std, self._seen = bool(state["fired"]), mean, std, seen


@dataclass
class GradientNormWindow(Trigger):
    """Fires when the gradient norm rises above the preceding window (GXPO's later code).

        Z = (n - mean) / (std + 1e-9)   over the `window` norms before this one, population std

    It fires at Z >= threshold, never before the window is full.
    """

    kind: str = option("gradient_norm_window", "name of the trigger")
    window: int = option(30, "number of preceding norms in the window", low=2)
    threshold: float = option(0.5, "z-score at which the trigger fires", above=0.0)

    paper = "2605.06755"
    changes = "no extrapolation once the corrective gradient's norm rises above that of preceding steps"
    watches = Signal.slow_gradient_norm

    def __post_init__(self) -> None:
        self._norms: list[float] = []
        self._z = math.nan
        self._fired = False

    @property
    def fired(self) -> bool:
        return self._fired

    def observe(self, step: int, entropy: float) -> bool:
        before, self._norms = self._norms, [*self._norms, entropy][-self.window :]
        self._z = math.nan
        if len(before) == self.window:
            mean = math.fsum(before) / self.window
            std = math.sqrt(math.fsum((norm - mean) ** 2 for norm in before) / self.window)
            self._z = (entropy - mean) / (std + 1e-9)
        fires = not self._fired and self._z >= self.threshold
        self._fired = self._fired or fires
        return fires

    def metrics(self) -> Mapping[str, float]:
        return {} if math.isnan(self._z) else {"trigger_z": self._z}

    def state(self) -> RuleState:
        return {"fired": self._fired, "norms": list(self._norms)}

    def restore(self, state: RuleState) -> None:
        norms = state["norms"]
        assert isinstance(norms, list)
        self._fired, self._norms = bool(state["fired"]), [float(norm) for norm in norms]
