"""PPO's critic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.modules.protocol import Modules
from sfpo_bench.core.content import MODEL_CONFIG
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option


@dataclass
class Critic(Facts, Modules):
    """V(s_t), the return expected before token t is drawn, fitted by (V - return)^2 (PPO, arXiv:1707.06347).

    A model of the policy's architecture with a scalar head, initialised from the policy or from the model at
    `model_path`. All its weights are trained, even where the policy has adapters. Value clipping, which some
    implementations have, is left out.
    """

    kind: str = option("critic", "name of the modules")
    learning_rate: float = option(
        0.0, "learning rate of the critic, with the policy's warm-up; 0: ten times learner.learning_rate", low=0.0
    )
    passes: int = option(1, "optimizer steps of the critic on each step's responses", low=1)
    model_path: str = option(
        "", "folder of a causal language model with the policy's tokenizer as initialisation; empty: the initial policy"
    )

    paper = "1707.06347"
    changes = "a critic of response tokens is trained beside the policy"
    extra_passes = "1 of the critic, and a forward to score the responses"
    extra_memory = "the critic's weights, gradients and optimizer: as much as the policy's"

    @property
    def names(self) -> Sequence[str]:
        return ("critic",)

    def check(self, key: str, group: int) -> None:
        if self.model_path and not (Path(self.model_path).expanduser() / MODEL_CONFIG).is_file():
            raise ConfigError(
                f"{key}.model_path = {self.model_path} has no config.json; expected a folder that save_pretrained "
                "wrote: download the model and name its folder, or leave it empty to start from the policy"
            )

    def rate_of(self, name: str, policy: float) -> float:
        return self.learning_rate or super().rate_of(name, policy)

    def passes_of(self, name: str) -> int:
        return self.passes
