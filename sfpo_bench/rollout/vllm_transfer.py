"""The receiving side of a weight sync, as a `WeightTransferEngine` of vLLM.

An update names the source of the weights: tensors of this process (`memory`), or a safetensors file (`path`) in a
folder that trainer and engine share, such as shared memory. Names are those of the Hugging Face checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

# Weights to sync within one process, by a key that the trainer chooses.
MEMORY: dict[str, Mapping[str, Tensor]] = {}


@dataclass
class SharedWeightsInit(WeightTransferInitInfo):  # type: ignore[misc]  # vLLM is untyped here
    """The transfer needs no setup data."""


@dataclass
class SharedWeightsUpdate(WeightTransferUpdateInfo):  # type: ignore[misc]  # vLLM is untyped here
    """The source of the weights of one sync; exactly one of the two is set."""

    memory: str = ""
    path: str = ""

    def __post_init__(self) -> None:
        if bool(self.memory) == bool(self.path):
            raise ValueError(f"memory = {self.memory!r}, path = {self.path!r}; expected exactly one of them")

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The weights by name, in the given order."""
        if self.memory:
            yield from MEMORY[self.memory].items()
            return
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                yield name, file.get_tensor(name)


class SharedWeights(WeightTransferEngine):  # type: ignore[misc]  # vLLM is untyped here
    """Reloads the model layer by layer, into its existing tensors."""

    init_info_cls = SharedWeightsInit
    update_info_cls = SharedWeightsUpdate

    def init_transfer_engine(self, init_info: SharedWeightsInit) -> None:
        """Do nothing: no setup is needed."""

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: SharedWeightsUpdate) -> None:
        self.model.load_weights(update_info.weights())

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Do nothing: no resources are held."""
