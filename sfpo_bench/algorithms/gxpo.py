"""GXPO and PrePO: two fast passes extrapolated to K elementwise, reposition, one slow pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.protocols import Batch, Learner, Moments, RuleNeeds
from sfpo_bench.algorithms.recorded import Elementwise, Recorded, StepQuantity
from sfpo_bench.algorithms.update_rules import SlowFast
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import StageStats

if TYPE_CHECKING:
    from torch import Tensor

_SMALLEST_RATIO, _LARGEST_RATIO = -2.0, 3.0
_FIRST, _SECOND = "first", "second"


@dataclass
class Gxpo(SlowFast):
    """SFPO with two fast passes extrapolated to K (GXPO and PrePO, arXiv:2605.06755).

    With g_0 and g_1 the gradients of the two passes (`ratio`), and S_n(x) = 1 + x + ... + x^(n - 1):

        x = g_1 / g_0 in [-2, 3],    q = S_K(x) / S_2(x) in [1, K / 2 + 1]
        reposition   theta = theta_0 + alpha q (theta_2 - theta_0)

    for each element with |g_0| > floor * rms(g_0) of its weight; elsewhere q = 1. Then one slow pass. K = 2 is SFPO
    with two fast passes. Under SGD on a diagonal quadratic it equals SFPO with K passes where no bound is active.
    Gradients of a pass with several optimizer steps are summed.

    PrePO (v2) uses the optimizer's steps d_0 and d_1 instead of gradients, and restores the optimizer state to before
    the first pass (`moments` restore). v1 carries the state and uses the gradients before clipping. v2's single ratio
    per weight under Muon is not offered, since there is no Muon here.
    """

    kind: str = option("gxpo", "name of the update rule")
    fast_passes: int = option(5, "K, the number of fast passes to extrapolate to", low=2)
    alpha: float = option(0.5, "share of the extrapolated update that is kept: 0 none, 1 all", low=0.0, high=1.0)
    floor: float = option(1e-3, "smallest gradient that is extrapolated, relative to its weight's rms", low=0.0)
    ratio: StepQuantity = option(
        StepQuantity.clipped_gradient,
        "quantity whose ratio is extrapolated: clipped_gradient, raw_gradient (v1) or optimizer_step (v2, PrePO)",
    )

    paper = "2605.06755"
    changes = "two fast passes over each batch, extrapolated to K, reposition, one slow pass; not for Muon"

    @property
    def needs(self) -> RuleNeeds:
        return RuleNeeds(passes=3, copies=3, state_copies=self.moments is not Moments.carry)

    def check(self, key: str) -> None:
        super().check(key)
        if self.moments is Moments.interpolate:
            raise ConfigError(
                f"{key}.moments = interpolate, but GXPO has a separate alpha for each element of a weight; expected "
                f"{key}.moments=carry (v1) or restore (v2)"
            )

    def _fast(self, learner: Learner[Batch], batch: Batch) -> Sequence[StageStats]:
        stages = []
        for number, name in enumerate((_FIRST, _SECOND), start=1):
            with learner.recording(name, self.ratio):
                stages.append(learner.optimize(batch, f"fast_{number}"))
        return stages

    def _kept(self) -> float | Elementwise:
        return self._share

    def _share(self, recorded: Recorded) -> Tensor:
        """alpha q of each element of one weight."""
        first, second = recorded.sums[_FIRST], recorded.sums[_SECOND]
        return self.alpha * extrapolation(first, second, self.floor * recorded.rms[_FIRST], self.fast_passes)


def extrapolation(first: Tensor, second: Tensor, floor: float, passes: int) -> Tensor:
    """q of each element: the length of `passes` steps relative to two, if gradients keep the ratio `second` / `first`.

    It is 1 where |first| is not above `floor`.
    """
    import torch

    counts = first.abs() > floor
    ratio = torch.where(counts, second / first, 1.0).clamp(_SMALLEST_RATIO, _LARGEST_RATIO)
    two, total = 1 + ratio, torch.ones_like(ratio)
    for _ in range(passes - 1):
        total = total * ratio + 1  # Horner's rule
    times = (total / two).clamp(1.0, passes / 2 + 1)
    return torch.where(counts & (two.abs() > 1e-8), times, 1.0)
