"""What a device computes at most: from a small table of GPUs, as the user says, or measured on a CPU."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

TERA = 1e12

# Dense matrix products without sparsity, TFLOP/s, from the makers' data sheets: bfloat16 on tensor cores, float32 on
# the ordinary ones, as torch computes it by default. The first name that is among the words of the device's decides.
PEAKS: Mapping[str, Mapping[str, float]] = {
    "GB200": {"bfloat16": 2500.0},
    "B200": {"bfloat16": 2250.0},
    "H200 NVL": {"bfloat16": 835.0, "float32": 60.0},
    "H200": {"bfloat16": 989.0, "float32": 67.0},
    "H100 NVL": {"bfloat16": 835.0, "float32": 60.0},
    "H100 PCIe": {"bfloat16": 756.0, "float32": 51.0},
    "H100": {"bfloat16": 989.0, "float32": 67.0},
    "H800 PCIe": {"bfloat16": 756.0, "float32": 51.0},
    "H800": {"bfloat16": 989.0, "float32": 67.0},
    "H20": {"bfloat16": 148.0, "float32": 44.0},
    "A100": {"bfloat16": 312.0, "float32": 19.5},
    "A800": {"bfloat16": 312.0, "float32": 19.5},
    "A40": {"bfloat16": 149.7, "float32": 37.4},
    "A10": {"bfloat16": 125.0, "float32": 31.2},
    "L40S": {"bfloat16": 362.05, "float32": 91.6},
    "L40": {"bfloat16": 181.05, "float32": 90.5},
    "L4": {"bfloat16": 121.0, "float32": 30.3},
    "MI300X": {"bfloat16": 1307.4, "float32": 163.4},
}

_SIDE, _ROUNDS = 384, 6


@dataclass(frozen=True, slots=True)
class Peak:
    """Operations a second that one device computes at most, and where that is from; 0 where nobody knows."""

    flops_per_second: float
    source: str


def peak_of(device: torch.device, dtype: torch.dtype, stated_tflops: float = 0.0) -> Peak:
    """The peak of this device for products in the number format: as stated, from the table, or measured on a CPU."""
    number_format = str(dtype).removeprefix("torch.")
    if stated_tflops:
        return Peak(stated_tflops * TERA, "stated: training.peak_tflops")
    if device.type == "cpu":
        threads = torch.get_num_threads()
        source = f"measured: products of {_SIDE} x {_SIDE} matrices in {number_format}, {threads} threads of this CPU"
        return Peak(_measured(dtype), source)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return listed_peak(name, number_format)


def listed_peak(name: str, number_format: str) -> Peak:
    """What the table holds of a device of that name."""
    # A part of a device (MIG) computes less than the whole that its name begins with.
    is_whole = not re.search(r"\bMIG\b", name)
    known = next((key for key in PEAKS if is_whole and re.search(rf"\b{key}\b", name)), None)
    tflops = PEAKS[known].get(number_format, 0.0) if known is not None else 0.0
    if known is None or not tflops:
        return Peak(0.0, f"not known of {name} in {number_format}; training.peak_tflops states it")
    return Peak(tflops * TERA, f"data sheet of {known}, {number_format}, dense")


def _measured(dtype: torch.dtype) -> float:
    """The fastest of a few products; a fraction of a second, and no random numbers."""
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    fastest = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        fastest = min(fastest, time.perf_counter() - started)
    return 2.0 * _SIDE**3 / fastest
