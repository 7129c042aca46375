"""What optimizer steps can be recorded by, for rules that extrapolate them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class StepQuantity(StrEnum):
    """What of an optimizer step is recorded: `clipped_gradient`, the gradient that it was taken with; `raw_gradient`,
    the same before clipping; `optimizer_step`, where it went without weight decay, in units of the learning rate,
    ((1 - rate * weight_decay) theta_t - theta_{t+1}) / rate."""

    clipped_gradient = "clipped_gradient"
    raw_gradient = "raw_gradient"
    optimizer_step = "optimizer_step"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded of the optimizer steps that moved one weight, added up, by the name of the record.

    `sums` are this rank's part of a weight that is spread over ranks; `rms` are the root mean squares of the whole
    weight's, the same on all ranks.
    """

    sums: Mapping[str, Tensor]
    rms: Mapping[str, float]


# The part to keep of each element of one weight's displacement.
Elementwise = Callable[[Recorded], "Tensor"]
