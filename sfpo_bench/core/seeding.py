"""Randomness as a function of names, without global or shared generators.

Named `generator`s make host-side choices (data order, arm order). Counter-based `uniforms` are for sampling: the number
at a position depends only on its key and position, and not on the rest of the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def stream_key(seed: int, *names: str | int) -> int:
    """A 64-bit key for the stream `(seed, *names)`; other names, orders or types give independent keys."""
    text = "\x1f".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A new generator for the stream `(seed, *names)`, for example `generator(3, "problems", epoch)`."""
    return np.random.Generator(np.random.Philox(key=stream_key(seed, *names)))


def uniforms(keys_B: Sequence[int], positions: int, start: int = 0) -> NDArray[np.float64]:
    """Uniforms in [0, 1), shape [B, positions]: entry (b, t) is a function of `(keys_B[b], start + t)` only.

    Philox4x32-10 (Salmon et al., SC 2011) with the stream's 64-bit key and the position as counter; two of its four
    words give the 53 bits of a double.
    """
    keys = np.asarray(keys_B, dtype=np.uint64)[:, None]
    counter = np.arange(start, start + positions, dtype=np.uint64)[None, :]
    shape = np.broadcast_shapes(keys.shape, counter.shape)
    zero = np.zeros(shape, dtype=np.uint32)
    words = philox4x32(
        (np.broadcast_to((counter & _LOW).astype(np.uint32), shape), zero, zero, zero),
        (
            np.broadcast_to((keys & _LOW).astype(np.uint32), shape),
            np.broadcast_to((keys >> _SHIFT).astype(np.uint32), shape),
        ),
    )
    high, low = words[0].astype(np.uint64) >> np.uint64(5), words[1].astype(np.uint64) >> np.uint64(6)
    return (high.astype(np.float64) * 67108864.0 + low.astype(np.float64)) / 9007199254740992.0


Words = NDArray[np.uint32]


def philox4x32(
    counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]
) -> tuple[Words, Words, Words, Words]:
    """Ten rounds of Philox4x32, elementwise over arrays of 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    with np.errstate(over="ignore"):
        for _ in range(10):
            p0, p1 = _M0 * c0.astype(np.uint64), _M1 * c2.astype(np.uint64)
            c0, c1, c2, c3 = (
                (p1 >> _SHIFT).astype(np.uint32) ^ c1 ^ k0,
                (p1 & _LOW).astype(np.uint32),
                (p0 >> _SHIFT).astype(np.uint32) ^ c3 ^ k1,
                (p0 & _LOW).astype(np.uint32),
            )
            k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, c2, c3
