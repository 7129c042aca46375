"""The interface of selections."""

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
    """The inputs of a selection: the step's whole batch and a random generator, equal on every rank.

        Candidates(tensor([[0.7, -0.7], [0.0, 0.0]]), tensor([[5, 3], [8, 8]]), generator(seed, "selection", step))

    Advantages are float64 means over each response's tokens; lengths count response tokens. `trajectories` are the
    responses, group by group.
    """

    advantages_PG: Tensor
    lengths_PG: Tensor
    generator: Generator
    trajectories: Sequence[Trajectory] = ()


class Selection(Protocol):
    """Selects and weights the responses of a batch.

    A selection is a dataclass whose fields are its settings and whose `kind` is its name. It draws random numbers only
    from the given generator. State between steps goes through `state` and `restore`, which checkpoints carry. Only
    `weights` has no default:

        @dataclass
        class Short(Selection):
            kind: str = "short"

            def weights(self, candidates):
                return (candidates.lengths_PG < 100).double()
    """

    @property
    def needs_weights(self) -> bool:
        """False when `weights` always returns None, so that the objective need not support weights."""
        return True

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for invalid settings, also with `group` responses per prompt; `key` is the selection's
        key."""
        return None

    @abstractmethod
    def weights(self, candidates: Candidates) -> Tensor | None:
        """Return weights of responses, [P, G], or of tokens, [B, T]; None when all are 1. Called once per training
        step.

        A response of weight 0 is dropped and not run; its weight multiplies all of its loss. Token weights multiply the
        policy-gradient term and are arbitrary on padding; a response with zero weight on all loss tokens is dropped.
        Denominators include dropped responses.
        """
        ...

    def state(self) -> RuleState:
        """The state for the checkpoint, as JSON values; empty for a stateless selection."""
        return {}

    def restore(self, state: RuleState) -> None:
        """Load a state that `state` returned."""
        return None
