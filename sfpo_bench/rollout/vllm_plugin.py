"""Makes our weight transfer known to vLLM: in this process, and as a plugin in every vLLM that runs where this package
is installed (entry point group `vllm.general_plugins`), a server's workers included."""

from __future__ import annotations

BACKEND = "sfpo_bench"


def register() -> None:
    """Register the transfer under `BACKEND`; doing it twice changes nothing."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, "sfpo_bench.rollout.vllm_transfer", "SharedWeights")
