"""Splits as a function of a problem alone: adding, removing or reordering problems moves no other problem."""

from __future__ import annotations

import hashlib

from sfpo_bench.types import Split


def split_of(problem_id: str, *, salt: str, select_share: float = 0.1, report_share: float = 0.1) -> Split:
    """The split of `problem_id`: a point in [0, 1) from its hash, cut into report, select and train.

    `salt` keeps the splits of different tasks independent.
    """
    digest = hashlib.blake2b(f"{salt}\x1f{problem_id}".encode(), digest_size=8).digest()
    point = int.from_bytes(digest, "little") / 2**64
    if point < report_share:
        return Split.report
    return Split.select if point < report_share + select_share else Split.train
