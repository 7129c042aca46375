"""Every method of the package by group and kind, as used in `algorithm`.

A new method is one file and one line here.
"""

from __future__ import annotations

from sfpo_bench.algorithms.advantages.gae import GeneralizedAdvantage
from sfpo_bench.algorithms.advantages.group import GroupAdvantage
from sfpo_bench.algorithms.advantages.group_overlong import GroupOverlong
from sfpo_bench.algorithms.advantages.leave_one_out import LeaveOneOut
from sfpo_bench.algorithms.advantages.rule_verifier import RuleVerifier
from sfpo_bench.algorithms.advantages.temp_samp import TempSampAdvantage
from sfpo_bench.algorithms.advantages.tree import TreeAdvantage
from sfpo_bench.algorithms.advantages.whitened_returns import WhitenedReturns
from sfpo_bench.algorithms.collectors.branches import Branches
from sfpo_bench.algorithms.collectors.drop_solved import DropSolved
from sfpo_bench.algorithms.collectors.dynamic_sampling import DynamicSampling
from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.algorithms.collectors.m_grpo import MGrpo
from sfpo_bench.algorithms.collectors.replay import Replay
from sfpo_bench.algorithms.collectors.temp_samp import TempSamp
from sfpo_bench.algorithms.gradient_triggers import GradientNormAverage, GradientNormWindow
from sfpo_bench.algorithms.gxpo import Gxpo
from sfpo_bench.algorithms.masks.binary_kl import BinaryKL
from sfpo_bench.algorithms.masks.cppo import PrefixBudget
from sfpo_bench.algorithms.masks.critic_spread import CriticSpread
from sfpo_bench.algorithms.masks.opsm import OffPolicySequence
from sfpo_bench.algorithms.masks.protocol import Mask
from sfpo_bench.algorithms.masks.second_moment import SecondMoment
from sfpo_bench.algorithms.masks.trm import TrustRegion
from sfpo_bench.algorithms.masks.tv import TotalVariation
from sfpo_bench.algorithms.modules.critic import Critic
from sfpo_bench.algorithms.modules.mini_critics import MiniCritics
from sfpo_bench.algorithms.modules.policy_alone import PolicyAlone
from sfpo_bench.algorithms.objectives.bapo import Bapo
from sfpo_bench.algorithms.objectives.cfpo import Cfpo
from sfpo_bench.algorithms.objectives.cispo import Cispo
from sfpo_bench.algorithms.objectives.clipped import Clipped
from sfpo_bench.algorithms.objectives.ctpo import Ctpo
from sfpo_bench.algorithms.objectives.dpo import Dpo
from sfpo_bench.algorithms.objectives.m2po import M2po
from sfpo_bench.algorithms.objectives.position_standardized import PositionStandardized
from sfpo_bench.algorithms.objectives.ppo_br import PpoBr
from sfpo_bench.algorithms.objectives.prefix_minimum import PrefixMinimum
from sfpo_bench.algorithms.objectives.product_ratios import PrefixProduct, ProductRatio
from sfpo_bench.algorithms.objectives.ratios import Ratio, SequenceRatio
from sfpo_bench.algorithms.objectives.sapo import Sapo
from sfpo_bench.algorithms.objectives.topr import Topr
from sfpo_bench.algorithms.objectives.vespo import Vespo
from sfpo_bench.algorithms.penalties.llds import Llds
from sfpo_bench.algorithms.penalties.protocol import Penalty
from sfpo_bench.algorithms.penalties.spread_entropy import SpreadEntropy
from sfpo_bench.algorithms.phases import InOrder, OnePhase
from sfpo_bench.algorithms.references import HardReference, SoftReference, StartReference
from sfpo_bench.algorithms.selections.branch_prune import BranchPrune
from sfpo_bench.algorithms.selections.dppo_prune import DppoPrune
from sfpo_bench.algorithms.selections.every import Every
from sfpo_bench.algorithms.triggers import EntropyZScore, FixedStep, Trigger
from sfpo_bench.algorithms.update_rules import Lookahead, OnePass, Repeat, SlowFast
from sfpo_bench.core.plugins import Custom

ADVANTAGES: dict[str, type] = {
    "group": GroupAdvantage,
    "group_overlong": GroupOverlong,
    "leave_one_out": LeaveOneOut,
    "temp_samp": TempSampAdvantage,
    "whitened_returns": WhitenedReturns,
    "gae": GeneralizedAdvantage,
    "rule_verifier": RuleVerifier,
    "tree": TreeAdvantage,
    "custom": Custom,
}
SELECTIONS: dict[str, type] = {
    "every": Every,
    "dppo_prune": DppoPrune,
    "branch_prune": BranchPrune,
    "custom": Custom,
}
COLLECTORS: dict[str, type] = {
    "group": GroupCollector,
    "dynamic_sampling": DynamicSampling,
    "drop_solved": DropSolved,
    "replay": Replay,
    "branches": Branches,
    "m_grpo": MGrpo,
    "temp_samp": TempSamp,
    "custom": Custom,
}
MODULES: dict[str, type] = {
    "policy": PolicyAlone,
    "critic": Critic,
    "mini_critics": MiniCritics,
    "custom": Custom,
}
RATIOS: dict[str, type] = {
    "token": Ratio,
    "sequence": SequenceRatio,
    "product": ProductRatio,
    "prefix_product": PrefixProduct,
    "prefix_minimum": PrefixMinimum,
    "position_standardized": PositionStandardized,
}
MASKS: dict[str, type] = {
    "none": Mask,
    "critic_spread": CriticSpread,
    "tv": TotalVariation,
    "binary_kl": BinaryKL,
    "cppo": PrefixBudget,
    "opsm": OffPolicySequence,
    "trm": TrustRegion,
    "second_moment": SecondMoment,
}
PENALTIES: dict[str, type] = {
    "none": Penalty,
    "llds": Llds,
    "spread_entropy": SpreadEntropy,
}
OBJECTIVES: dict[str, type] = {
    "clipped": Clipped,
    "cispo": Cispo,
    "sapo": Sapo,
    "topr": Topr,
    "vespo": Vespo,
    "cfpo": Cfpo,
    "ctpo": Ctpo,
    "m2po": M2po,
    "bapo": Bapo,
    "ppo_br": PpoBr,
    "dpo": Dpo,
    "custom": Custom,
}
REFERENCES: dict[str, type] = {
    "start": StartReference,
    "soft": SoftReference,
    "hard": HardReference,
    "custom": Custom,
}
TRIGGERS: dict[str, type] = {
    "none": Trigger,
    "fixed_step": FixedStep,
    "entropy_zscore": EntropyZScore,
    "gradient_norm_average": GradientNormAverage,
    "gradient_norm_window": GradientNormWindow,
}
UPDATE_RULES: dict[str, type] = {
    "one_pass": OnePass,
    "repeat": Repeat,
    "lookahead": Lookahead,
    "slow_fast": SlowFast,
    "gxpo": Gxpo,
    "custom": Custom,
}
PHASES: dict[str, type] = {
    "one": OnePhase,
    "in_order": InOrder,
    "custom": Custom,
}

# Groups of methods by dotted key, inner ones first.
METHODS: dict[str, dict[str, type]] = {
    "algorithm.update_rule.trigger": TRIGGERS,
    "algorithm.update_rule": UPDATE_RULES,
    "algorithm.collector": COLLECTORS,
    "algorithm.modules": MODULES,
    "algorithm.advantage": ADVANTAGES,
    "algorithm.selection": SELECTIONS,
    "algorithm.objective.ratio": RATIOS,
    "algorithm.objective.mask": MASKS,
    "algorithm.objective.penalty": PENALTIES,
    "algorithm.objective": OBJECTIVES,
    "algorithm.reference": REFERENCES,
    "algorithm.phases": PHASES,
}

# The kinds of nodes that an algorithm omits: those of GRPO.
DEFAULT_KINDS = {
    "algorithm.collector": "group",
    "algorithm.advantage": "group",
    "algorithm.modules": "policy",
    "algorithm.selection": "every",
    "algorithm.reference": "start",
    "algorithm.phases": "one",
}
