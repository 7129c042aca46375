"""A device imagined on the processor: which tensors would lie on it, and when the host would wait for it.

Tensors of the model, those that `layout.to_device` moved, those made with a `device=`, and whatever is computed from
any of them are on the device. A number or a length that is read from them makes the host wait.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sfpo_bench.training import batch, layout, learner

# What needs a value of the device to go on: a number, or the size of its result.
READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal")
# What may take a tensor of the host and one of the device.
COPIES = ("copy_", "_to_copy")
_HOST = (batch.__file__, layout.__file__)


class ImaginedDevice:
    """Counts of `reads` and `copies` by name, and the operations that mix tensors of the host and of the device."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.mixed: list[str] = []
        # Kept alive, so that no storage of the host gets the address of one that was on the device.
        self._storages: dict[int, torch.UntypedStorage] = {}

    def put(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._storages[storage.data_ptr()] = storage

    def has(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._storages

    @contextmanager
    def watching(self, model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for tensor in (*model.parameters(), *model.buffers()):
            self.put(tensor)
        move = layout.to_device

        def to_device(tensors: Sequence[Tensor], device: torch.device) -> Iterator[Tensor]:
            arrived = [tensor.clone() for tensor in move(tensors, device)]
            self.copies.update(f"{dtype}" for dtype in {tensor.dtype for tensor in tensors})
            for tensor in arrived:
                self.put(tensor)
            return iter(arrived)

        with monkeypatch.context() as patch, _Functions(self), _Operations(self):
            patch.setattr(layout, "to_device", to_device)
            patch.setattr(learner, "to_device", to_device)
            yield


class _Functions(TorchFunctionMode):
    """Sees what does not reach an operation: lists of values, copies to the host, the `device=` of new tensors."""

    def __init__(self, device: ImaginedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        if name in ("tolist", "cpu", "numpy") and self._device.has(args[0]):
            self._device.reads[name] += 1
            if name == "cpu":
                return _of_host(args[0])
        made = function(*args, **(kwargs or {}))
        moves = name == "to" and any(isinstance(one, torch.device) for one in args)
        if moves and not self._device.has(args[0]) and not _is_on_host():
            self._device.copies[name] += 1
            made = made.clone()
            self._device.put(made)
        if kwargs and kwargs.get("device") is not None and isinstance(made, Tensor) and not _is_on_host():
            self._device.put(made)
        return made


def _is_on_host() -> bool:
    """True inside the modules whose tensors are on the host; they write `device=` where others call them too."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename in _HOST:
            return True
        frame = frame.f_back
    return False


def _of_host(tensor: Tensor) -> Tensor:
    """The values in memory that no operation has seen."""
    return torch.frombuffer(bytearray(tensor.detach().contiguous().numpy().tobytes()), dtype=tensor.dtype).view(
        tensor.shape
    )


class _Operations(TorchDispatchMode):
    def __init__(self, device: ImaginedDevice) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch types it not
        self._device = device

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        taken = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        there = [self._device.has(tensor) for tensor in taken]
        made = function(*args, **(kwargs or {}))
        if not any(there):
            return made
        name = function.__name__.partition(".")[0]
        if name in READS or (name == "index" and any(tensor.dtype == torch.bool for tensor in taken[1:])):
            self._device.reads[name] += 1
        if not all(is_there or tensor.ndim == 0 for tensor, is_there in zip(taken, there, strict=True)):
            if name in COPIES:
                self._device.copies[name] += 1
            else:
                self._device.mixed.append(f"{name} {[tuple(tensor.shape) for tensor in taken]} {there}")
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._device.put(leaf)
        return made
