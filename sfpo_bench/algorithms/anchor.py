"""The anchor: a copy of the weights, and optionally of the optimizer state, for reposition."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sfpo_bench.algorithms.moments import is_number, pull_back
from sfpo_bench.algorithms.protocols import Moments

if TYPE_CHECKING:
    from torch import Tensor

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Anchored:
    """A weight, its optimizer state and its parameter group, whose betas give the decay of running averages.

    Of a DTensor, this rank's shard is used.
    """

    weight: Tensor
    state: MutableMapping[str, Any]
    group: Mapping[str, Any]


class Anchor(Generic[Key]):
    """The anchor of SFPO (theta_0) or Lookahead (slow weights): `take` copies, `reposition` interpolates back.

        anchor.take(weights, moments)
        ...                                     K optimizer steps
        anchor.reposition(weights, 0.8, moments)

    The single copy is allocated at the first `take` and reused. It is stored beside the weights, or in CPU memory
    (`on_host`), from where it is copied back one tensor at a time. There is no communication: each rank copies and
    moves its own shards.
    """

    def __init__(self, *, on_host: bool = False) -> None:
        self._on_host = on_host
        self.weights: dict[Key, Tensor] = {}
        self.state: dict[Key, dict[str, Any]] = {}

    def take(self, anchored: Mapping[Key, Anchored], moments: Moments) -> None:
        """Copy the weights, and the optimizer state unless `moments` is `carry`."""
        import torch

        with torch.no_grad():
            self.weights = {key: self._copy(local(one.weight), self.weights.get(key)) for key, one in anchored.items()}
            if moments is not Moments.carry:
                self.state = {key: self._copied_state(one, self.state.get(key, {})) for key, one in anchored.items()}

    def reposition(
        self, anchored: Mapping[Key, Anchored], alpha: float | Callable[[Key], Tensor], moments: Moments
    ) -> None:
        """theta <- lerp(anchor, theta, alpha), exact at 0 and 1 (arXiv:2510.04072, stage II), in place.

        The optimizer state changes as `moments` says (`algorithms.moments`); an optimizer without state at `take`
        counts as having had zeros. A function `alpha` returns a separate alpha for each element of a weight.
        """
        import torch

        with torch.no_grad():
            for key, copy in self.weights.items():
                weight = local(anchored[key].weight)
                share = alpha(key) if callable(alpha) else alpha
                torch.lerp(copy.to(weight.device), weight, share, out=weight)
            if moments is Moments.carry:
                return
            kept = alpha if moments is Moments.interpolate else 0.0
            if callable(kept):
                raise RuntimeError("moments=interpolate with an alpha for each element: set moments=carry or restore")
            for key, before in self.state.items():
                state = _parts(anchored[key].state)
                pull_back(state, before, kept, anchored[key].group)
                # Tensors were changed in place; numbers were changed only in the copied mapping.
                anchored[key].state.update({slot: value for slot, value in state.items() if is_number(value)})

    def put(self, weights: Mapping[Key, Tensor], state: Mapping[Key, Mapping[str, Any]]) -> None:
        """Load a saved anchor from its former `weights` and `state`."""
        self.weights = {key: self._copy(local(weight), None) for key, weight in weights.items()}
        self.state = {
            key: {slot: self._kept(value, None) for slot, value in _parts(slots).items()}
            for key, slots in state.items()
        }

    def drop(self) -> None:
        """Free the copies."""
        self.weights, self.state = {}, {}

    def _copied_state(self, one: Anchored, into: Mapping[str, Any]) -> dict[str, Any]:
        return {slot: self._kept(value, into.get(slot)) for slot, value in _parts(one.state).items()}

    def _kept(self, value: Any, into: Any) -> Any:
        return value if is_number(value) else self._copy(value, into)

    def _copy(self, value: Tensor, into: Tensor | None) -> Tensor:
        """A copy on the anchor's device, in the memory of `into` if it fits."""
        import torch

        if into is None or into.shape != value.shape or into.dtype != value.dtype:
            device = "cpu" if self._on_host else value.device
            into = torch.empty_like(value, device=device, pin_memory=self._on_host and value.is_cuda)
        return into.copy_(value)


def local(tensor: Tensor) -> Tensor:
    """This rank's shard of a DTensor, sharing its memory; any other tensor unchanged."""
    import torch

    if torch.distributed.is_available():
        from torch.distributed.tensor import DTensor

        if isinstance(tensor, DTensor):
            with torch.no_grad():  # outside the graph: in-place changes of the shard change the tensor
                return tensor.to_local()
    return tensor


def _parts(state: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors (this rank's shards, sharing memory) and numbers of an optimizer state."""
    import torch

    tensors = {slot: local(value) for slot, value in state.items() if isinstance(value, torch.Tensor)}
    return tensors | {slot: value for slot, value in state.items() if is_number(value)}
