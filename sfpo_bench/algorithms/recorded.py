"""Quantities of optimizer steps that rules can record for extrapolation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class StepQuantity(StrEnum):
    """The recorded quantity of an optimizer step.

    `clipped_gradient` is the gradient of the step, `raw_gradient` the same before clipping. `optimizer_step` is the
    update without weight decay in units of the learning rate, ((1 - rate * weight_decay) theta_t - theta_{t+1}) / rate.
    """

    clipped_gradient = "clipped_gradient"
    raw_gradient = "raw_gradient"
    optimizer_step = "optimizer_step"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The summed records of the optimizer steps of one weight, by record name.

    `sums` are this rank's shards; `rms` are root mean squares of the unsharded weight, equal on all ranks.
    """

    sums: Mapping[str, Tensor]
    rms: Mapping[str, float]


# Returns the share of each element of a weight's update to keep.
Elementwise = Callable[[Recorded], "Tensor"]
