"""The interface of modules that are trained beside the policy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sfpo_bench.algorithms.protocols import Rewarded

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor
    from transformers import PreTrainedModel


class Modules(Protocol):
    """Named modules, trained beside the policy, that score response tokens, such as critics.

    Each has its own fp32 weights, optimizer and checkpoint part. An advantage names the modules it needs
    (`Advantage.modules`), reads their scores from `Rewarded.scores`, and computes their targets (`Advantage.returns`).
    After the policy's update of a step, each module takes its optimizer steps on the same responses.

    A class of modules is a dataclass whose fields are its settings and whose `kind` is its name. The defaults here make
    a critic; only `names` has no default:

        @dataclass
        class TwoCritics(Modules):
            kind: str = "two_critics"

            names = ("first", "second")

            def share(self, name, rewarded, source):  # random halves of each prompt's responses
                ranks_PG = source.permuted(np.indices(rewarded.rewards_PG.shape)[1], axis=1)
                return torch.from_numpy(ranks_PG % 2 == self.names.index(name))
    """

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The names of the modules, also used for their checkpoint files and metrics."""
        ...

    @property
    def model_path(self) -> str:
        """The folder of the causal language model they are built from; empty: the initial policy."""
        return ""

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for invalid settings, also with `group` responses per prompt; `key` is their key."""
        return None

    def parameters(self, name: str, body: int, hidden: int) -> int:
        """The number of trained parameters, for plans, given `body` without the head and the width `hidden`."""
        return body + hidden + 1

    def build(self, name: str, model: PreTrainedModel, source: Generator) -> PreTrainedModel:
        """Build the module: a copy of `model` with a scalar head drawn from `source`."""
        from sfpo_bench.algorithms.modules.value_head import with_value_head

        return with_value_head(model, source)

    def rate_of(self, name: str, policy: float) -> float:
        """The learning rate, given the policy's: ten times it, as in verl's defaults. Both have the same warm-up."""
        return 10 * policy

    def passes_of(self, name: str) -> int:
        """The number of optimizer steps per training step, each over the module's whole share."""
        return 1

    def share(self, name: str, rewarded: Rewarded, source: Generator) -> Tensor:
        """The responses that train the module, bool [P, G]; by default all.

        `source` has the same state for every module of a step, so that modules can divide the responses among them.
        """
        return rewarded.lengths_PG > 0

    def losses(self, name: str, scores_BT: Tensor, returns_BT: Tensor) -> Tensor:
        """Token losses [B, T]; an optimizer step minimises their mean over the tokens of the share."""
        return (scores_BT - returns_BT) ** 2
