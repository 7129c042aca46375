"""The disagreement of several critics on each token, and masks of its extremes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfpo_bench.algorithms.protocols import LossInputs

if TYPE_CHECKING:
    from torch import Tensor


def spreads(inputs: LossInputs) -> Tensor:
    """The population standard deviation of the critics' values of each token, [B, T]."""
    import torch

    return torch.stack(list(inputs.scores.values())).std(dim=0, correction=0)


def without_lowest(spreads_BT: Tensor, mask_BT: Tensor, share: float) -> Tensor:
    """False on the floor(share * N) of N valid tokens with the lowest spread, earlier tokens first in ties."""
    import torch

    levels_N = _levels(spreads_BT, mask_BT)[mask_BT]
    kept_N = torch.ones_like(levels_N, dtype=torch.bool)
    kept_N[levels_N.argsort(stable=True)[: int(share * len(levels_N))]] = False
    return torch.ones_like(mask_BT).masked_scatter(mask_BT, kept_N)


def without_highest(spreads_BT: Tensor, mask_BT: Tensor, share: float) -> Tensor:
    """False above the highest spread left after dropping floor(share * N) of the N valid tokens.

    Ties with that spread are kept, so fewer tokens may be dropped.
    """
    levels_BT = _levels(spreads_BT, mask_BT)
    ordered_N = levels_BT[mask_BT].sort().values
    remaining = len(ordered_N) - int(share * len(ordered_N))
    return levels_BT <= ordered_N[remaining - 1] if remaining else levels_BT < 0


def _levels(spreads_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Spreads rounded to multiples of 2^-16 of the largest valid one.

    Responses with a common prefix have equal spreads there up to the last bits, which depend on micro-batches and
    ranks. Rounding makes the order independent of them.
    """
    return (spreads_BT / spreads_BT[mask_BT].max().clamp(min=1e-30) * 2**16).round()
