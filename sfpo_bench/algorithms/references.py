"""References for the KL penalty, and how they follow the policy."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Reference
from sfpo_bench.core.options import option


@dataclass
class StartReference(Facts, Reference):
    """The initial weights of the run."""

    kind: str = option("start", "name of the reference")

    changes = "KL to the initial weights of the run"

    @property
    def moves(self) -> bool:
        return False

    def follow(self, step: int) -> float:
        return 0.0


@dataclass
class SoftReference(Facts, Reference):
    """pi_ref <- a pi + (1 - a) pi_ref after every `every_steps` training steps (TR-DPO, arXiv:2404.09656); a: `mixing`.

    mixing = 0 is the fixed reference, bit for bit. With mixing = 1 and every_steps = 1 each step starts with KL = 0.
    """

    kind: str = option("soft", "name of the reference")
    mixing: float = option(0.6, "share of the policy's weights in the new reference", low=0.0, high=1.0)
    every_steps: int = option(512, "training steps between two updates of the reference", low=1)

    paper = "2404.09656"
    changes = "KL to weights that are periodically mixed with the policy's"
    extra_memory = "1 x the trained weights in float32 where the model is bfloat16"

    def follow(self, step: int) -> float:
        return 0.0 if step % self.every_steps else self.mixing


@dataclass
class HardReference(Facts, Reference):
    """pi_ref <- pi after every `every_steps` training steps: `SoftReference` with mixing = 1 (arXiv:2404.09656)."""

    kind: str = option("hard", "name of the reference")
    every_steps: int = option(512, "training steps between two updates of the reference", low=1)

    paper = "2404.09656"
    changes = "KL to an earlier policy, which is periodically replaced by the current one"
    extra_memory = SoftReference.extra_memory

    def follow(self, step: int) -> float:
        return 0.0 if step % self.every_steps else 1.0
