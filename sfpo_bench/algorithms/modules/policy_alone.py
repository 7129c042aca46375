"""Nothing is trained beside the policy."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.core.options import option


@dataclass
class PolicyAlone(Facts, Modules):
    """The policy is the only module: its weights, its optimizer, its part of the checkpoint."""

    kind: str = option("policy", "name of the modules")

    changes = "nothing is trained beside the policy"

    names = ()
