"""Splits as a function of a problem alone: adding, removing or reordering problems moves no other problem."""

from __future__ import annotations

import hashlib

from sfpo_bench.errors import ConfigError
from sfpo_bench.types import Split


def split_of(problem_id: str, *, salt: str, select_share: float = 0.1, report_share: float = 0.1) -> Split:
    """The split of `problem_id`: a point in [0, 1) from its hash, cut into report, select and train in this order.

    The shares are those of expectation: of n problems about n * share fall into a split, give or take
    sqrt(n * share * (1 - share)). `salt` keeps the splits of different tasks independent.
    """
    if not (select_share >= 0 and report_share >= 0 and select_share + report_share <= 1):
        raise ConfigError(
            f"select_share = {select_share:g} and report_share = {report_share:g} leave "
            f"{1 - select_share - report_share:g} of the problems for training; expected shares that are not negative "
            f"and together at most 1"
        )
    text = f"{salt}\x1f{problem_id}".encode("utf-8", "surrogatepass")
    point = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") / 2**64
    if point < report_share:
        return Split.report
    return Split.select if point < report_share + select_share else Split.train
