"""Content hashes of a file and of a model folder."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

MODEL_CONFIG = "config.json"  # the hub's name of a model's configuration
# Files of a model: weights, configuration, tokenizer.
_MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.txt", "*.model")


def file_sha256(path: Path) -> str:
    """The sha256 of a file, cached by its size and modification time."""
    found = path.stat()
    return _sha256(str(path.resolve()), found.st_size, found.st_mtime_ns)


def model_folder_sha256(folder: Path) -> str:
    """The sha256 of the names and contents of a folder's model files."""
    files = sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern) if path.is_file()})
    lines = [f"{path.name} {file_sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@functools.lru_cache(maxsize=4096)
def _sha256(path: str, size_bytes: int, changed_ns: int) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
