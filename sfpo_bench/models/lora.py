"""Low-rank adapters (LoRA, arXiv:2106.09685): W + 2 B A in place of W in every projection of every layer.

Only A [r, in] and B [out, r] are trained, repositioned and written to checkpoints. B starts at zero, so the adapted
model starts equal to the original. The factor 2 is alpha / r with alpha = 2 r; it is fixed, since scaling it equals
scaling the learning rate of B. `merged` and `merge_into` produce a model without adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.extras import install_extra
from sfpo_bench.core.seeding import stream_key

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

SCALE = 2.0
_A, _B, _BASE = ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer"


def adapt(model: PreTrainedModel, rank: int, seed: int) -> None:
    """Add an adapter to every linear layer but the head, through peft, and freeze all other weights.

    The initial A is drawn from the stream (`seed`, "lora"). Raises `ConfigError` when peft is not installed.
    """
    import torch

    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ConfigError(
            f"learner.lora_rank = {rank} needs peft: {install_extra('lora')}, or set learner.lora_rank=0"
        ) from error
    adapter = LoraConfig(r=rank, lora_alpha=int(SCALE * rank), lora_dropout=0.0, target_modules="all-linear")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(seed, "lora"))
        model.add_adapter(adapter)


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an adapted model with adapters merged, under the original names; other weights are unchanged."""
    found = {}
    for name, weight in weights.items():
        if name.endswith((_A, _B)):
            continue
        plain = name.replace(_BASE, "")
        change = _change(weights, plain)
        found[plain] = weight if change is None else (_wide(weight) + change).to(weight.dtype)
    return found


def adapted(weights: Mapping[str, Tensor]) -> bool:
    """True when some of the weights belong to an adapter."""
    return any(name.endswith(_A) for name in weights)


def merge_into(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    """Load a checkpoint into a model without adapters; a checkpoint of adapters is added to the model's weights."""
    import torch

    is_adapter = adapted(weights)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not is_adapter:
                parameter.copy_(weights[name])
                continue
            change = _change(weights, name)
            if change is not None:
                parameter.copy_(_wide(parameter) + change.to(parameter.device))


def _change(weights: Mapping[str, Tensor], name: str) -> Tensor | None:
    """2 B A in at least fp32 for the weight of this name, or None."""
    layer = name.removesuffix(".weight")
    if layer + _A not in weights:
        return None
    product: Tensor = _wide(weights[layer + _B]) @ _wide(weights[layer + _A])
    return SCALE * product


def _wide(weight: Tensor) -> Tensor:
    """The weight in fp32, or in float64 if it already is."""
    import torch

    return weight.detach() if weight.dtype == torch.float64 else weight.detach().float()
