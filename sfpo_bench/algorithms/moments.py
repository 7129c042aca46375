"""What a reposition does to an optimizer's state: put back, or interpolated like the weights.

A running average m of Adam's kind decays by beta at each of t steps from zero, so it holds a total weight of
1 - beta^t, and the optimizer divides by just that. Interpolated,

    m = (1 - alpha) m_0 + alpha m_K      holds      w = 1 - [(1 - alpha) beta^t_0 + alpha beta^t_K]

which an interpolated count does not give: alpha t_K with t_0 = 0 is 3 % off at beta 0.9, alpha 0.8, K = 3. The count t
becomes the one with 1 - beta^t = w for the first average, in general not a whole number. Every average is then scaled
by (1 - beta^t) / w of its own beta: by next to nothing for the first, by less than 4 % for the second, so that what the
optimizer divides by is the weight that is there, now and after every later step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_COUNT = "step"
_COUNT_UNIT = 2.0**-12  # optimizers count in fp32, where such parts of a step survive thousands of whole ones added
# Averages that are divided by their total weight, and which of a parameter group's betas they decay by.
_BETA_OF = {"exp_avg": 0, "exp_avg_sq": 1, "max_exp_avg_sq": 1}


def pull_back(
    state: MutableMapping[str, Any], before: Mapping[str, Any], kept: float, group: Mapping[str, Any]
) -> None:
    """Move one parameter's optimizer state, in place, to `kept` of its way from `before`; exact at 0 and 1.

    `group` is the parameter group, whose `betas` say how averages decay. Numbers and tensors count as state; what was
    not there before counts as zeros. A count of steps without betas is no average: it is put back with the rest at 0,
    and else stays. Raises `RuntimeError` for a tensor that is not floating point, unless `kept` is 0 or 1.
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
            _weigh(state, taken, kept, [float(beta) for beta in group["betas"]])


def is_number(value: object) -> bool:
    """True for what a state may hold as a count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _weigh(state: MutableMapping[str, Any], taken: tuple[float, float], kept: float, betas: list[float]) -> None:
    """Set the count, and scale the averages so that each holds the weight that the count stands for."""
    count = _count_of_weight(*taken, kept, next((beta for beta in betas if beta > 0), 0.0))
    held = state[_COUNT]
    if isinstance(held, float):
        state[_COUNT] = count
    elif not isinstance(held, int) and held.is_floating_point():
        held.fill_(count)
    stored = float(state[_COUNT])  # rounded to the format it is kept in; a whole number stays what it was
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
            f"moments=interpolate met an optimizer state of dtype {value.dtype}, expected floating point: set "
            "moments=carry or moments=restore for this optimizer"
        )
