"""How a reposition changes the optimizer state: restored, or interpolated like the weights.

A running average m as in Adam decays by beta at each of t steps from zero, so its weights sum to 1 - beta^t, and the
optimizer divides by that. Interpolated,

    m = (1 - alpha) m_0 + alpha m_K      holds      w = 1 - [(1 - alpha) beta^t_0 + alpha beta^t_K]

An interpolated count does not give w: alpha t_K with t_0 = 0 is 3 % off at beta 0.9, alpha 0.8, K = 3. The count t is
therefore set to the solution of 1 - beta^t = w for the first average, in general not an integer. Every average is then
scaled by (1 - beta^t) / w for its own beta: by almost 1 for the first, by less than 4 % for the second. The optimizer
then divides by the true sum of weights, now and after every later step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_COUNT = "step"
_COUNT_UNIT = 2.0**-12  # optimizers count in fp32, where multiples of this stay exact over thousands of steps
# Bias-corrected averages, and the index of their beta in the parameter group.
_BETA_OF = {"exp_avg": 0, "exp_avg_sq": 1, "max_exp_avg_sq": 1}


def pull_back(
    state: MutableMapping[str, Any], before: Mapping[str, Any], kept: float, group: Mapping[str, Any]
) -> None:
    """Interpolate one parameter's optimizer state in place, from `before` (`kept` 0) to itself (1); exact at both.

    `group` is the parameter group, whose `betas` give the decay of averages. The state consists of numbers and tensors;
    missing entries of `before` count as zeros. A step count without betas is restored at 0 and otherwise unchanged.
    Raises `RuntimeError` for a tensor that is not floating point, unless `kept` is 0 or 1.
    """
    import torch

    if kept == 1:
        return
    taken = float(before.get(_COUNT, 0.0)), float(state.get(_COUNT, 0.0))
    with torch.no_grad():
        for slot, value in state.items():
            if isinstance(value, torch.Tensor) and (slot != _COUNT or kept == 0):
                _lerp(value, before.get(slot), kept)
            elif is_number(value) and kept == 0:
                state[slot] = before.get(slot, type(value)(0))
        if kept > 0 and "betas" in group and taken[0] != taken[1]:
            _rescale_averages(state, taken, kept, [float(beta) for beta in group["betas"]])


def is_number(value: object) -> bool:
    """True for an int or float, but not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _rescale_averages(
    state: MutableMapping[str, Any], taken: tuple[float, float], kept: float, betas: list[float]
) -> None:
    """Set the count, and scale the averages so that their sums of weights match it."""
    count = _count_of_weight(*taken, kept, next((beta for beta in betas if beta > 0), 0.0))
    held = state[_COUNT]
    if isinstance(held, float):
        state[_COUNT] = count
    elif not isinstance(held, int) and held.is_floating_point():
        held.fill_(count)
    stored = float(state[_COUNT])  # rounded to its stored format; an integer count is unchanged
    for slot in _BETA_OF.keys() & state.keys():
        beta = betas[_BETA_OF[slot]]
        weight = 1 - ((1 - kept) * beta ** taken[0] + kept * beta ** taken[1])
        state[slot].mul_((1 - beta**stored) / weight)


def _count_of_weight(first: float, last: float, kept: float, beta: float) -> float:
    """t with beta^t = (1 - kept) beta^first + kept beta^last, in units of `_COUNT_UNIT`."""
    if beta == 0:
        return last
    count = first + math.log1p(kept * math.expm1((last - first) * math.log(beta))) / math.log(beta)
    return max(1, round(count / _COUNT_UNIT)) * _COUNT_UNIT


def _lerp(value: Tensor, before: Tensor | None, kept: float) -> None:
    import torch

    start = torch.zeros_like(value) if before is None else before.to(value.device)
    if value.is_floating_point():
        torch.lerp(start, value, kept, out=value)
    elif kept == 0:
        value.copy_(start)
    else:
        raise RuntimeError(
            f"moments=interpolate with an optimizer state of dtype {value.dtype}, expected floating point: set "
            "moments=carry or moments=restore for this optimizer"
        )
