"""Named tensors on disk: one safetensors file from a single process, one per rank from several.

    weights.safetensors                                     single process
    weights/shard-00001-model-00001-of-00001.safetensors …  several ranks, by torch.distributed.checkpoint

Any number of processes can read either form; nothing is unpickled.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from sfpo_bench.results.stored_files import sync_file
from sfpo_bench.training.ranks import Ranks

# The sharded format has no zero-dimensional tensors, such as an optimizer's step count. They are stored as [1], with
# this suffix on their names.
_SCALAR = "()"


def write_tensors(folder: Path, name: str, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Write and sync the tensors; every rank must call this. Raises `OSError` when a write fails."""
    if ranks.count > 1:
        _write_shards(folder / name, tensors)
    else:
        _write_file(folder / f"{name}.safetensors", tensors)


def files_of(folder: Path, name: str) -> list[Path]:
    """The files of the named tensors; empty when there are none."""
    file = folder / f"{name}.safetensors"
    return [file] if file.is_file() else sorted((folder / name).glob("*.safetensors"))


def parts_of(folder: Path) -> set[str]:
    """The names under which tensors were written into the folder."""
    return {path.stem if path.is_file() else path.name for path in folder.iterdir() if path.suffix != ".json"}


def remove_tensors(folder: Path, name: str) -> None:
    """Remove the files of the named tensors, if any."""
    (folder / f"{name}.safetensors").unlink(missing_ok=True)
    shutil.rmtree(folder / name, ignore_errors=True)


def read_tensors(
    folder: Path, name: str, like: Mapping[str, Tensor] | None = None, only: Collection[str] | None = None
) -> dict[str, Tensor]:
    """The tensors by name, all or only those in `only`.

    A tensor whose name, or the part of it before a slash, is in `like` with an equal shape is sharded like that tensor;
    all others are whole. Raises `OSError`, `KeyError`, `RuntimeError` or a safetensors error for what cannot be read.
    """
    files = files_of(folder, name)
    like = like or {}
    if not files and (folder / name).is_dir():
        return {}
    if not files:
        raise FileNotFoundError(f"{folder / name} is not there")
    if files[0].parent == folder:
        return {key: _spread(tensor, _layout(key, tensor.shape, like)) for key, tensor in _read(files[0], only).items()}
    return _read_shards(folder / name, like, only)


def _read(file: Path, only: Collection[str] | None) -> dict[str, Tensor]:
    from safetensors import safe_open
    from safetensors.torch import load_file

    if only is None:
        return load_file(file)
    with safe_open(file, framework="pt") as opened:
        return {key: opened.get_tensor(key) for key in only}


def _layout(key: str, shape: torch.Size, like: Mapping[str, Tensor]) -> DTensor | None:
    found = like.get(key, like.get(key.rsplit("/", 1)[0]))
    return found if isinstance(found, DTensor) and found.shape == shape else None


def _spread(tensor: Tensor, layout: DTensor | None) -> Tensor:
    if layout is None:
        return tensor
    # Without a source rank each rank keeps its shard of what it read, without communication.
    return distribute_tensor(tensor.to(layout.device), layout.device_mesh, layout.placements, src_data_rank=None)


def _write_file(file: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    sync_file(file)


def _write_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    folder.mkdir(exist_ok=True)
    if not tensors:  # an optimizer without state: the empty folder marks the part as written
        return
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    content = {}
    for name, tensor in tensors.items():
        scalar = tensor.ndim == 0
        content[name + _SCALAR * scalar] = tensor.detach().reshape(1) if scalar else tensor.detach()
    try:
        save(content, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as error:
        raise OSError("; ".join(f"rank {rank}: {cause[0]}" for rank, cause in error.failures.items())) from error


def _read_shards(folder: Path, like: Mapping[str, Tensor], only: Collection[str] | None) -> dict[str, Tensor]:
    from torch.distributed import is_initialized
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(folder))
    content: dict[str, Tensor] = {}
    for key, entry in reader.read_metadata().state_dict_metadata.items():
        if only is not None and key.removesuffix(_SCALAR) not in only:
            continue
        stored = cast(TensorStorageMetadata, entry)
        layout = _layout(key, stored.size, like)
        dtype = stored.properties.dtype
        content[key] = (
            torch.empty(stored.size, dtype=dtype) if layout is None else torch.empty_like(layout, dtype=dtype)
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # intended: one process may read shards
        load(content, storage_reader=reader, no_dist=not is_initialized())
    return {
        key.removesuffix(_SCALAR): tensor.squeeze(0) if key.endswith(_SCALAR) else tensor
        for key, tensor in content.items()
    }
