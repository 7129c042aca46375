"""Splits as a function of the problem only: adding, removing or reordering problems moves no other problem.

A generated task calls `split_of` with one canonical text for all orders of a problem, made with `unordered`, so that no
report problem is trained on in another order.
"""

from __future__ import annotations

import hashlib

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import Split


def unordered(sign: str, *operands: int) -> str:
    """A sum or product with sorted operands: `3+4` for both 3 and 4, and 4 and 3."""
    return sign.join(str(operand) for operand in sorted(operands))


def split_of(canonical_text: str, *, salt: str, select_share: float = 0.1, report_share: float = 0.1) -> Split:
    """The split of a problem: the hash of its text as a point in [0, 1), divided into report, select and train.

    The shares are expectations: of n problems n * share are in a split, with standard deviation sqrt(n * share * (1 -
    share)). `salt` makes the splits of different tasks independent.
    """
    if not (select_share >= 0 and report_share >= 0 and select_share + report_share <= 1):
        raise ConfigError(
            f"select_share = {select_share:g} and report_share = {report_share:g} leave "
            f"{1 - select_share - report_share:g} of the problems for training; expected shares that are not negative "
            f"and together at most 1"
        )
    text = f"{salt}\x1f{canonical_text}".encode("utf-8", "surrogatepass")
    point = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") / 2**64
    if point < report_share:
        return Split.report
    return Split.select if point < report_share + select_share else Split.train
