"""Registers the weight transfer with vLLM.

It is also an entry point of the group `vllm.general_plugins`, so every vLLM in an environment with this package loads
it, a server's workers included.
"""

from __future__ import annotations

BACKEND = "sfpo_bench"


def register() -> None:
    """Register the weight transfer under `BACKEND`; repeated calls do nothing."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, "sfpo_bench.rollout.vllm_transfer", "SharedWeights")
