"""A copy of the weights to come back to, and of the optimizer's state where that comes back too."""

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
    """One weight as its owner holds it, the optimizer's state of it, and its parameter group, whose betas say how
    averages decay. A DTensor counts for its part on this rank."""

    weight: Tensor
    state: MutableMapping[str, Any]
    group: Mapping[str, Any]


class Anchor(Generic[Key]):
    """SFPO's theta_0, Lookahead's slow weights: `take` copies weights, `reposition` pulls them back towards the copy.

        anchor.take(weights, moments)
        ...                                     K optimizer steps
        anchor.reposition(weights, 0.8, moments)

    ONE copy, allocated at the first `take` and reused by the next ones; it lies beside the weights, or in the host's
    memory (`on_host`), from where it comes back a tensor at a time. Nothing here communicates: of sharded weights every
    rank copies and moves its own part.
    """

    def __init__(self, *, on_host: bool = False) -> None:
        self._on_host = on_host
        self.weights: dict[Key, Tensor] = {}
        self.state: dict[Key, dict[str, Any]] = {}

    def take(self, anchored: Mapping[Key, Anchored], moments: Moments) -> None:
        """Copy the weights, and the optimizer's state unless its moments are carried."""
        import torch

        with torch.no_grad():
            self.weights = {key: self._copy(local(one.weight), self.weights.get(key)) for key, one in anchored.items()}
            if moments is not Moments.carry:
                self.state = {key: self._copied_state(one, self.state.get(key, {})) for key, one in anchored.items()}

    def reposition(
        self, anchored: Mapping[Key, Anchored], alpha: float | Callable[[Key], Tensor], moments: Moments
    ) -> None:
        """theta <- lerp(anchor, theta, alpha), exact at 0 and 1 (arXiv:2510.04072, stage II), and the moments with it
        (`algorithms.moments`). A function gives the elements of each weight an alpha of their own. An optimizer without
        state at `take` counts as having had zeros."""
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
                # Tensors were changed in place; a number is only changed in the copy of the mapping.
                anchored[key].state.update({slot: value for slot, value in state.items() if is_number(value)})

    def put(self, weights: Mapping[Key, Tensor], state: Mapping[Key, Mapping[str, Any]]) -> None:
        """Take up an anchor that was saved: what `weights` and `state` held then."""
        self.weights = {key: self._copy(local(weight), None) for key, weight in weights.items()}
        self.state = {
            key: {slot: self._kept(value, None) for slot, value in _parts(slots).items()}
            for key, slots in state.items()
        }

    def drop(self) -> None:
        """Give the memory back."""
        self.weights, self.state = {}, {}

    def _copied_state(self, one: Anchored, into: Mapping[str, Any]) -> dict[str, Any]:
        return {slot: self._kept(value, into.get(slot)) for slot, value in _parts(one.state).items()}

    def _kept(self, value: Any, into: Any) -> Any:
        return value if is_number(value) else self._copy(value, into)

    def _copy(self, value: Tensor, into: Tensor | None) -> Tensor:
        """A copy where anchors live, in the memory of the last one if that fits."""
        import torch

        if into is None or into.shape != value.shape or into.dtype != value.dtype:
            device = "cpu" if self._on_host else value.device
            into = torch.empty_like(value, device=device, pin_memory=self._on_host and value.is_cuda)
        return into.copy_(value)


def local(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor that is here, sharing its memory; any other tensor itself."""
    import torch

    if torch.distributed.is_available():
        from torch.distributed.tensor import DTensor

        if isinstance(tensor, DTensor):
            with torch.no_grad():  # Outside a graph: what is done to the part is done to the tensor.
                return tensor.to_local()
    return tensor


def _parts(state: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors, of sharded ones this rank's part, sharing memory, and numbers of an optimizer's state."""
    import torch

    tensors = {slot: local(value) for slot, value in state.items() if isinstance(value, torch.Tensor)}
    return tensors | {slot: value for slot, value in state.items() if is_number(value)}
