"""Advantages, objectives, update rules and triggers, and the protocols for your own methods.

Importing it does not import torch, which is imported by the functions that compute.
"""

from sfpo_bench.algorithms.advantages.gae import GeneralizedAdvantage
from sfpo_bench.algorithms.advantages.group import AdvantageScale, GroupAdvantage, group_advantages
from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, RolloutSource
from sfpo_bench.algorithms.correction import Correction, Mismatch, loss_weights, mismatch
from sfpo_bench.algorithms.modules.critic import Critic
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.algorithms.objectives import Clipped, Normalization, clipped_surrogate, k3, response_weights
from sfpo_bench.algorithms.protocols import (
    Advantage,
    BatchCounts,
    Learner,
    Loss,
    LossInputs,
    Moments,
    Objective,
    Phases,
    Reference,
    Rewarded,
    RuleState,
    StepMethod,
    UpdateRule,
)
from sfpo_bench.algorithms.selections.protocol import Candidates, Selection
from sfpo_bench.algorithms.triggers import EntropyZScore, FixedStep, Trigger
from sfpo_bench.algorithms.update_rules import EntropySource, Lookahead, OnePass, Repeat, SlowFast, Unit

__all__ = [
    "Advantage",
    "AdvantageScale",
    "BatchCounts",
    "Candidates",
    "Clipped",
    "Collected",
    "Collector",
    "Correction",
    "Critic",
    "EntropySource",
    "EntropyZScore",
    "FixedStep",
    "GeneralizedAdvantage",
    "GroupAdvantage",
    "Learner",
    "Lookahead",
    "Loss",
    "LossInputs",
    "Mismatch",
    "Modules",
    "Moments",
    "Normalization",
    "Objective",
    "OnePass",
    "Phases",
    "Reference",
    "Repeat",
    "Rewarded",
    "RolloutSource",
    "RuleState",
    "Selection",
    "SlowFast",
    "StepMethod",
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
