"""AsyPPO's mini-critics, each trained on a share of every prompt's responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.modules.critic import Critic
from sfpo_bench.algorithms.modules.names import numbered
from sfpo_bench.algorithms.protocols import Rewarded
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor


@dataclass
class MiniCritics(Critic):
    """Several critics trained on disjoint equal shares of each prompt's responses (AsyPPO, arXiv:2510.01656).

    The shares are redrawn every step. The advantage `gae` uses the mean of the critics' values. The paper's critics are
    smaller than the policy: `model_path` names a model with the same tokenizer.
    """

    kind: str = option("mini_critics", "name of the modules")
    critics: int = option(2, "number of critics; a divisor of rollout.group", low=2)

    paper = "2510.01656"
    trust = "T"
    changes = "several critics, each trained on a share of every prompt's responses"
    extra_passes = "1 of each critic on its share, and a forward of each to score the responses"
    extra_memory = "the weights, gradients and optimizer of each critic"

    @property
    def names(self) -> Sequence[str]:
        return numbered("critic", self.critics)

    def check(self, key: str, group: int) -> None:
        super().check(key, group)
        if group % self.critics:
            raise ConfigError(
                f"{key}.critics = {self.critics} does not divide {group} responses to a prompt into equal shares; set "
                f"rollout.group to a multiple of {self.critics}, or {key}.critics to a divisor of {group}"
            )

    def share(self, name: str, rewarded: Rewarded, source: Generator) -> Tensor:
        import numpy as np
        import torch

        places_PG = source.permuted(np.indices(rewarded.rewards_PG.shape)[1], axis=1)
        return torch.from_numpy(places_PG % self.critics == self.names.index(name))
