"""A temporary safetensors file that passes weights to another process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import DiskFullError

if TYPE_CHECKING:
    from torch import Tensor


class WeightsFile:
    """Writes the weights to a safetensors file and removes it at the end of the block."""

    def __init__(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        descriptor, name = tempfile.mkstemp(prefix="sfpo_bench_", suffix=".safetensors", dir=folder)
        os.close(descriptor)
        self._path = Path(name)

    def __enter__(self) -> Path:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        # safetensors rejects shared memory, so an alias of another tensor is copied.
        seen: set[int] = set()
        tensors = {}
        for name, weight in self._weights.items():
            shared = weight.data_ptr() in seen
            seen.add(weight.data_ptr())
            tensors[name] = weight.detach().cpu().clone() if shared else weight.detach().cpu().contiguous()
        try:
            save_file(tensors, self._path)
        except (OSError, SafetensorError) as error:
            self._path.unlink(missing_ok=True)
            size = sum(tensor.nbytes for tensor in tensors.values())
            raise DiskFullError(
                f"writing {size / 1e6:.0f} MB of weights into {self._path.parent} failed: {error}; set "
                "rollout.transfer_folder to a folder with more space"
            ) from error
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
