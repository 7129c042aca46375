"""fp32 weights split into bf16 weights and the 16 missing bits.

    bits(w) = 2^16 * bits(hi) + lo        hi = w rounded to bf16, halves away from zero; lo a signed 16-bit number

With this rounding `lo` always fits into 16 bits, so the pair determines the fp32 weight exactly. A module that computes
with `hi` and stores `lo` needs four bytes per fp32 weight instead of six.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Elements processed at a time, so that temporaries stay small; on a CPU they fit into its cache.
_RUN, _RUN_ON_DEVICE = 2**18, 2**26


def round_to_bfloat16(weights: Tensor, out: Tensor) -> None:
    """Round fp32 `weights` to bf16 `out`, to nearest with halves away from zero.

    Infinities are preserved; a NaN whose payload is all ones may not be.
    """
    for bits, rounded in _runs(weights.view(torch.int32), out.view(torch.int16)):
        # Adding half of the last kept bit carries into it, which rounds the magnitude and keeps the sign.
        rounded.copy_((bits + 0x8000).bitwise_right_shift_(16))


def low_bits(weights: Tensor, out: Tensor) -> None:
    """Write the lower 16 bits of fp32 `weights`, as signed numbers, to int16 `out`."""
    for bits, low in _runs(weights.view(torch.int32), out):
        low.copy_(bits)  # keeps the lower 16 bits


def join(rounded: Tensor, low: Tensor, out: Tensor) -> None:
    """Write to fp32 `out` the weights that `round_to_bfloat16` and `low_bits` split."""
    for high, below, bits in _runs(rounded.view(torch.int16), low, out.view(torch.int32)):
        # `below` is signed, so that adding it undoes the carry.
        bits.copy_(high).bitwise_left_shift_(16).add_(below)


def add_rounded(total: Tensor, part: Tensor) -> None:
    """Add a tensor in another format to fp32 `total` piecewise, since torch would first copy all of it to fp32."""
    for sums, numbers in _runs(total, part):
        sums.add_(numbers)


def _runs(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Matching pieces of contiguous tensors of equal size."""
    size = _RUN if tensors[0].device.type == "cpu" else _RUN_ON_DEVICE
    yield from zip(*(tensor.view(-1).split(size) for tensor in tensors), strict=True)
