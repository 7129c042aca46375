"""The default: no module is trained beside the policy."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.core.options import option


@dataclass
class PolicyAlone(Facts, Modules):
    """Only the policy is trained."""

    kind: str = option("policy", "name of the modules")

    changes = "only the policy is trained"

    names = ()
