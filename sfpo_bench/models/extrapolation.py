"""Extrapolates the weights of kept checkpoints to a later step (arXiv:2601.04537, 2605.21468)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Extrapolation(StrEnum):
    """The extrapolation method.

    `linear` continues the line through the first and the last checkpoint (RLVR-Linearity). `rank_one` uses the
    principal direction of the changes of each weight, with a line fitted to their coefficients (RELEX).
    """

    linear = "linear"
    rank_one = "rank_one"

    @property
    def fewest(self) -> int:
        """The smallest number of checkpoints it needs."""
        return 2 if self is Extrapolation.linear else 3


def extrapolated(method: Extrapolation, steps: Sequence[int], weights: Sequence[Tensor], to_step: int) -> Tensor:
    """One weight at `to_step`, from its values at increasing `steps`; computed in float64, returned in its format."""
    if method is Extrapolation.linear:
        found = _line(steps[0], weights[0].double(), steps[-1], weights[-1].double(), to_step)
    else:
        found = _rank_one(steps, weights, to_step)
    return found.to(weights[-1].dtype)


def _line(first: int, start: Tensor, last: int, end: Tensor, to_step: int) -> Tensor:
    """theta_t + (Delta / (t - s)) (theta_t - theta_s), for steps s < t and Delta = `to_step` - t."""
    return end + (to_step - last) / (last - first) * (end - start)


def _rank_one(steps: Sequence[int], weights: Sequence[Tensor], to_step: int) -> Tensor:
    """theta_0 + c(T) v, where D = u s v^T + ... is the SVD of the changes since the first checkpoint, one per row.

    c is the least-squares line through the coefficients s u_i of the largest component. A row of D is as long as the
    weight, so u and s come from the small matrix D D^T, and v = D^T u / s.
    """
    import torch

    start = weights[0].double()
    changes = [weight.double() - start for weight in weights]
    gram = torch.stack([torch.stack([(a * b).sum() for b in changes]) for a in changes])
    values, vectors = torch.linalg.eigh(gram)
    if float(values[-1]) <= 0:
        return start  # no change
    left = vectors[:, -1]
    times = torch.tensor([float(step) for step in steps], dtype=torch.float64)
    centred = times - times.mean()
    slope = (centred * left).sum() / centred.square().sum()
    # c(T) / s, since s cancels against that in v.
    at = left.mean() + slope * (to_step - times.mean())
    way = torch.zeros_like(start)
    for part, change in zip(left, changes, strict=True):
        way += part * change
    return start.add(way * at)
