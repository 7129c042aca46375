"""Correction of the training-inference mismatch between engine and trainer.

The engine samples tokens from mu; the trainer's policy at the same weights is pi. They differ by kernels, rounding and
top-p, if used. With rho_t = pi(y_t) / mu(y_t) at the step's initial weights, the unbiased weight of a token loss is
rho_t; the choices below bound its variance.

    none           weight 1: the mismatch is only recorded
    truncate       min(rho_t, cap) on each token; cap 2, verl's default (truncated importance sampling)
    sequence_mask  rho = prod_t rho_t on every token of a response with rho <= cap, else 0; cap 3, as TRL
    reject         1 on responses with 1/cap <= rho <= cap, others are dropped; cap 2, as in verl's examples

A masked response still counts in the loss's denominators; a rejected one does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Correction(StrEnum):
    """The weighting of token losses for the engine mismatch; the choices are described at the top of this module."""

    none = "none"
    truncate = "truncate"
    sequence_mask = "sequence_mask"
    reject = "reject"


PUBLISHED_CAPS = {
    Correction.none: math.inf,
    Correction.truncate: 2.0,
    Correction.sequence_mask: 3.0,
    Correction.reject: 2.0,
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Statistics of the raw token ratios rho of one batch: mean, maximum and effective sample size.

    The effective sample size is a share of the tokens, (sum rho)^2 / (N sum rho^2): 1 for equal weights, 1/N when one
    token has all the weight.
    """

    ratio_mean: float
    ratio_max: float
    effective_sample_share: float


PERFECT_MATCH = Mismatch(1.0, 1.0, 1.0)


def mismatch(log_ratios_N: Tensor) -> Mismatch:
    """The statistics of rho = exp(`log_ratios_N`), one entry per token; a perfect match without tokens."""
    if log_ratios_N.numel() == 0:
        return PERFECT_MATCH
    largest = float(log_ratios_N.max())
    # Scaled by the largest ratio, so that the squares of a large mismatch do not overflow.
    scaled_N = (log_ratios_N.double() - largest).exp()
    share = float(scaled_N.sum() ** 2 / (len(scaled_N) * scaled_N.square().sum()))
    return Mismatch(float(log_ratios_N.double().exp().mean()), math.exp(min(largest, 700.0)), share)


def loss_weights(log_ratios_BT: Tensor, mask_BT: Tensor, correction: Correction, cap: float) -> Tensor:
    """The weight of each token's policy-gradient loss, [B, T], zero on padding; `cap` 0 is the published value.

    Rejection scales the accepted responses by B / accepted, which equals leaving the rejected out of every per-response
    denominator. If all are rejected, all weights are zero.
    """
    cap = cap or PUBLISHED_CAPS[correction]
    ones_BT = mask_BT.to(log_ratios_BT.dtype)
    log_ratios_BT = log_ratios_BT.masked_fill(~mask_BT, 0.0)
    if correction is Correction.none:
        return ones_BT
    if correction is Correction.truncate:
        return log_ratios_BT.clamp(max=math.log(cap)).exp() * ones_BT
    sequence_B1 = log_ratios_BT.sum(dim=1, keepdim=True)
    if correction is Correction.sequence_mask:
        return sequence_B1.masked_fill(sequence_B1 > math.log(cap), -math.inf).exp() * ones_BT
    kept_B1 = (sequence_B1.abs() <= math.log(cap)).to(log_ratios_BT.dtype)
    return ones_BT * kept_B1 * (len(kept_B1) / kept_B1.sum().clamp(min=1))
