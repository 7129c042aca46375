"""Advantages, objectives, update rules and triggers, and the protocols that a method of your own follows.

Importing it loads no torch: torch is imported by the functions that compute.
"""

from sfpo_bench.algorithms.advantages import AdvantageScale, group_advantages
from sfpo_bench.algorithms.correction import Correction, Mismatch, loss_weights, mismatch
from sfpo_bench.algorithms.objectives import Clipped, Normalization, clipped_surrogate, k3, response_weights
from sfpo_bench.algorithms.protocols import (
    BatchCounts,
    Learner,
    Loss,
    LossInputs,
    Moments,
    Objective,
    RuleState,
    UpdateRule,
)
from sfpo_bench.algorithms.triggers import EntropyZScore, FixedStep, Trigger
from sfpo_bench.algorithms.update_rules import EntropySource, Lookahead, OnePass, Repeat, SlowFast, Unit

__all__ = [
    "AdvantageScale",
    "BatchCounts",
    "Clipped",
    "Correction",
    "EntropySource",
    "EntropyZScore",
    "FixedStep",
    "Learner",
    "Lookahead",
    "Loss",
    "LossInputs",
    "Mismatch",
    "Moments",
    "Normalization",
    "Objective",
    "OnePass",
    "Repeat",
    "RuleState",
    "SlowFast",
    "Trigger",
    "Unit",
    "UpdateRule",
    "clipped_surrogate",
    "group_advantages",
    "k3",
    "loss_weights",
    "mismatch",
    "response_weights",
]
