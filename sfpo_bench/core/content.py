"""What files hold, as one short text: that of a file, and that of the folder of a model."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

MODEL_CONFIG = "config.json"  # as the hub names the shape of a model
# What makes a model: weights, configuration, tokenizer.
_MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.txt", "*.model")


def file_sha256(path: Path) -> str:
    """sha256 of a file; read anew only when its size or time of change is another."""
    found = path.stat()
    return _sha256(str(path.resolve()), found.st_size, found.st_mtime_ns)


def model_folder_sha256(folder: Path) -> str:
    """sha256 of all files of a model's folder that make the model, their names included."""
    files = sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern) if path.is_file()})
    lines = [f"{path.name} {file_sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@functools.lru_cache(maxsize=4096)
def _sha256(path: str, size_bytes: int, changed_ns: int) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
