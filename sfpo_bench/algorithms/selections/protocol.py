"""The seam of selections: what one is given, and what it returns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sfpo_bench.core.types import Trajectory

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from sfpo_bench.algorithms.protocols import RuleState


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a selection sees: the step's whole batch, on every rank, and a generator of its own, the same on every rank.

        Candidates(tensor([[0.7, -0.7], [0.0, 0.0]]), tensor([[5, 3], [8, 8]]), generator(seed, "selection", step))

    Advantages are float64, of each response the mean over its tokens; lengths count response tokens. `trajectories` are
    the responses group by group, where they come from a step.
    """

    advantages_PG: Tensor
    lengths_PG: Tensor
    generator: Generator
    trajectories: Sequence[Trajectory] = ()


class Selection(Protocol):
    """Which responses of a batch are trained on, and with what weight. It draws from the generator it is given; what it
    remembers from step to step goes through `state` and `restore`, which a checkpoint carries.

    A selection is a dataclass whose fields are its settings and whose `kind` names it. What it inherits here has a
    default; only `weights` has none:

        @dataclass
        class Short(Selection):
            kind: str = "short"

            def weights(self, candidates):
                return (candidates.lengths_PG < 100).double()
    """

    @property
    def needs_weights(self) -> bool:
        """False when `weights` never returns any, so that the objective need not apply them."""
        return True

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for settings that cannot work, alone or with `group` responses to a prompt; `key` is
        where the selection sits."""
        return None

    @abstractmethod
    def weights(self, candidates: Candidates) -> Tensor | None:
        """The weight of each response's loss, [P, G], 0 for one that is dropped and not run; None: all weigh 1. Or that
        of the policy-gradient term of each response token, [B, T], anything on padding; a response whose tokens with a
        loss all weigh 0 is dropped.

        Denominators count the dropped too, so that a weight is a factor on the response's share of the loss. Once for
        each training step.
        """
        ...

    def state(self) -> RuleState:
        """What must survive a kill, as plain JSON values; empty for a selection without memory."""
        return {}

    def restore(self, state: RuleState) -> None:
        """Take up a state that `state` returned."""
        return None
