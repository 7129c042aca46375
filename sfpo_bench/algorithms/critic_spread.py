"""How much several critics disagree on each token, and which tokens are at the ends of it."""

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
    """False on floor(share * N) of the N valid tokens, those with the lowest spread, the first ones of equals."""
    import torch

    spreads_N = spreads_BT[mask_BT]
    kept_N = torch.ones_like(spreads_N, dtype=torch.bool)
    kept_N[spreads_N.argsort(stable=True)[: int(share * len(spreads_N))]] = False
    return torch.ones_like(mask_BT).masked_scatter(mask_BT, kept_N)


def without_highest(spreads_BT: Tensor, mask_BT: Tensor, share: float) -> Tensor:
    """False above the highest spread that remains when floor(share * N) of the N valid tokens are dropped: equal ones
    all stay, so that fewer may be dropped."""
    ordered_N = spreads_BT[mask_BT].sort().values
    remaining = len(ordered_N) - int(share * len(ordered_N))
    return spreads_BT <= ordered_N[remaining - 1] if remaining else spreads_BT < 0
