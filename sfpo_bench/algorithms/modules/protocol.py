"""The seam of modules: what is trained beside the policy, and what it is given."""

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
    """What is trained beside the policy: named modules that score response tokens, such as critics.

    Each has fp32 weights, an optimizer and a part of the checkpoint of its own. An advantage says which of them it
    needs (`Advantage.modules`), finds what they say in `Rewarded.scores`, and makes what they are trained towards
    (`Advantage.returns`). Once a step's policy has moved, each takes its optimizer steps on the same responses.

    A class of modules is a dataclass whose fields are its settings and whose `kind` names it. What it inherits here
    makes a critic; only `names` has no default:

        @dataclass
        class TwoCritics(Modules):
            kind: str = "two_critics"

            names = ("first", "second")

            def share(self, name, rewarded, source):  # halves of each prompt's responses, drawn anew each step
                ranks_PG = source.permuted(np.indices(rewarded.rewards_PG.shape)[1], axis=1)
                return torch.from_numpy(ranks_PG % 2 == self.names.index(name))
    """

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The modules; their checkpoint files and metrics are called after them."""
        ...

    @property
    def model_path(self) -> str:
        """Folder of the causal language model that they are built from; empty: the policy as it starts."""
        return ""

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for settings that cannot work, alone or with `group` responses to a prompt; `key` is
        where the modules sit."""
        return None

    def parameters(self, name: str, body: int, hidden: int) -> int:
        """Numbers that are trained, for plans; `body` are those of the model without its head, `hidden` is its
        width."""
        return body + hidden + 1

    def build(self, name: str, model: PreTrainedModel, source: Generator) -> PreTrainedModel:
        """The module: a model whose output embeddings have one number for a token. It begins as a copy of `model`, but
        for the head, which is drawn from `source`."""
        from sfpo_bench.algorithms.modules.value_head import with_value_head

        return with_value_head(model, source)

    def rate_of(self, name: str, policy: float) -> float:
        """The learning rate where that of the policy is `policy`: ten times as much, as verl's defaults are. Both warm
        up alike."""
        return 10 * policy

    def passes_of(self, name: str) -> int:
        """Optimizer steps on a step's responses, each over the module's whole share."""
        return 1

    def share(self, name: str, rewarded: Rewarded, source: Generator) -> Tensor:
        """Which responses train the module, bool [P, G]; all of them. `source` begins alike for every module of a
        step, so that they can divide what it says among them."""
        return rewarded.lengths_PG > 0

    def losses(self, name: str, scores_BT: Tensor, returns_BT: Tensor) -> Tensor:
        """Of each token, [B, T]; an optimizer step minimises their mean over the tokens of the share."""
        return (scores_BT - returns_BT) ** 2
