"""fp32 weights as bf16 ones and the 16 bits that these lack.

    bits(w) = 2^16 * bits(hi) + lo        hi = w rounded to bf16, halves away from zero; lo a signed 16-bit number

With that rounding `lo` always fits, so that the two together are the fp32 weight itself, bit for bit. A module that
computes with `hi` and keeps `lo` beside it holds its fp32 weights in four bytes instead of six.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Numbers worked on at a time, so that what stands between them stays small; on a processor, in its cache.
_RUN, _RUN_ON_DEVICE = 2**18, 2**26


def round_to_bfloat16(weights: Tensor, out: Tensor) -> None:
    """Write fp32 `weights` to bf16 `out`, to the nearest, halves away from zero. Infinities stay what they are; a NaN
    whose payload is all ones may not."""
    for bits, rounded in _runs(weights.view(torch.int32), out.view(torch.int16)):
        # Adding half of the last place that stays carries into it: rounding of the magnitude, sign untouched.
        rounded.copy_((bits + 0x8000).bitwise_right_shift_(16))


def low_bits(weights: Tensor, out: Tensor) -> None:
    """Write the lower 16 bits of fp32 `weights`, as signed numbers, to int16 `out`."""
    for bits, low in _runs(weights.view(torch.int32), out):
        low.copy_(bits)  # takes the lower half


def join(rounded: Tensor, low: Tensor, out: Tensor) -> None:
    """Write to fp32 `out` the weights that `round_to_bfloat16` and `low_bits` took apart."""
    for high, below, bits in _runs(rounded.view(torch.int16), low, out.view(torch.int32)):
        # `below` is signed, so that adding it undoes the carry.
        bits.copy_(high).bitwise_left_shift_(16).add_(below)


def add_rounded(total: Tensor, part: Tensor) -> None:
    """Add a tensor in another format to fp32 `total`. In one go torch would copy all of it to fp32 first."""
    for sums, numbers in _runs(total, part):
        sums.add_(numbers)


def _runs(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Pieces of contiguous tensors of one size, side by side."""
    size = _RUN if tensors[0].device.type == "cpu" else _RUN_ON_DEVICE
    yield from zip(*(tensor.view(-1).split(size) for tensor in tensors), strict=True)
