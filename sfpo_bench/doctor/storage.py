"""Checks of the output folder and the model cache: permissions and free space."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.doctor.findings import Finding, green, red, yellow
from sfpo_bench.models import smollm2

# A run of the embedded experiment takes 4 MB; one of SmolLM2 three checkpoints of 1.6 GB, and a fourth while writing.
_LEAST_BYTES = 500e6
_PLENTY_BYTES = 7e9


def check_cache(cache: Path) -> Iterator[Finding]:
    """Yield findings on whether the cache is writable and contains SmolLM2."""
    cause = writable(cache)
    if cause is None:
        yield green("cache", f"{cache} can be written")
    else:
        yield red("cache", f"{cache} cannot be written: {cause}", "export SFPO_BENCH_CACHE=FOLDER_YOU_MAY_WRITE")
    try:
        yield green("cache", f"SmolLM2-135M-Instruct is at {smollm2.locate(cache)}")
    except MissingDataError:
        text = "SmolLM2-135M-Instruct is not there; only experiment=smollm2_addition needs it"
        yield yellow("cache", text, "sfpo-bench fetch smollm2")


def check_disk(output_root: Path, cache: Path) -> Iterator[Finding]:
    """Yield findings on whether the output folder is writable, and on free space there and in the cache."""
    cause = writable(output_root)
    if cause is not None:
        yield red("disk", f"{output_root} cannot be written: {cause}", "output_root=FOLDER_YOU_MAY_WRITE")
    fixes = {
        output_root: "output_root=FOLDER_ON_A_LARGER_DISK",
        cache: "export SFPO_BENCH_CACHE=FOLDER_ON_A_LARGER_DISK",
    }
    seen = set()
    for place, fix in fixes.items():
        there = existing(place)
        if there.stat().st_dev not in seen:
            seen.add(there.stat().st_dev)
            yield _room(place, shutil.disk_usage(there).free, fix)


def _room(place: Path, free: float, fix: str) -> Finding:
    text = f"{free / 1e9:.1f} GB free for {place}"
    if free < _LEAST_BYTES:
        return red("disk", f"{text}, expected {_LEAST_BYTES / 1e9:g} GB at the least", fix)
    if free < _PLENTY_BYTES:
        return yellow("disk", f"{text}; a run of SmolLM2 takes up to {_PLENTY_BYTES / 1e9:g} GB", fix)
    return green("disk", text)


def existing(place: Path) -> Path:
    """Return `place`, or the nearest existing folder above it."""
    whole = place.expanduser().absolute()
    return next(path for path in (whole, *whole.parents) if path.exists())


def writable(folder: Path) -> str | None:
    """Return why `folder`, which may not exist yet, is not writable, or None if it is. Leaves no file behind."""
    try:
        with tempfile.TemporaryFile(dir=existing(folder)) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None
