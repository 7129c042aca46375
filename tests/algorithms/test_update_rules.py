"""Records of passes that were taken one mini-batch at a time, added up by hand."""

from __future__ import annotations

import pytest

from sfpo_bench.algorithms.update_rules import merge_stages
from sfpo_bench.core.types import StageStats

FAST = StageStats("fast_1", 1.0, 0.1, 1.1, 2.0, 0.2, 3.0, 0.5, 1, 0, 0.25)
SLOW = StageStats("slow", 2.0, 0.2, 1.2, 3.0, 0.4, 5.0, 0.6, 1, 1, 0.5)


def test_merged_stages_add_steps_and_seconds_take_the_largest_ratio_and_average_the_rest() -> None:
    other = StageStats("fast_1", 4.0, 0.3, 0.9, 1.5, 0.6, 1.0, 0.7, 2, 1, 0.75)
    fast, slow = merge_stages([[FAST, SLOW], [other, SLOW]])
    assert (fast.stage, fast.optimizer_steps, fast.skipped_optimizer_steps, fast.seconds) == ("fast_1", 3, 1, 1.0)
    assert fast.ratio_max == 2.0
    means = (fast.loss, fast.clip_fraction, fast.ratio_mean, fast.kl_to_start, fast.gradient_norm, fast.entropy)
    assert means == pytest.approx((2.5, 0.2, 1.0, 0.4, 2.0, 0.6))
    assert (slow.loss, slow.ratio_max, slow.optimizer_steps, slow.skipped_optimizer_steps) == (2.0, 3.0, 2, 2)
    assert merge_stages([[FAST, SLOW]]) == (FAST, SLOW)
