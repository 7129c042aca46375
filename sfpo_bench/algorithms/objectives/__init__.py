"""Objectives and ratios: log-probs and advantages to a loss, one file per surrogate."""

from sfpo_bench.algorithms.objectives.clipped import Clipped, clipped_surrogate
from sfpo_bench.algorithms.objectives.policy_gradient import Normalization, PolicyGradient, k3, response_weights

__all__ = ["Clipped", "Normalization", "PolicyGradient", "clipped_surrogate", "k3", "response_weights"]
