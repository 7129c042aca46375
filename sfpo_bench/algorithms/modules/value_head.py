"""A language model with a scalar value head."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sfpo_bench.core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel


def with_value_head(model: PreTrainedModel, source: np.random.Generator) -> PreTrainedModel:
    """A copy of a causal language model with a scalar linear head.

    Head weights are normal with std 1 / (width + 1), drawn from `source`, so that initial values are near 0; the bias
    is 0. Raises `ConfigError` for a model without output embeddings to replace.
    """
    import torch

    if model.get_output_embeddings() is None:
        raise ConfigError(
            f"{type(model).__name__} has no output embeddings that a value head could replace; use another model, or "
            "algorithm/modules=policy and an advantage without a critic"
        )
    found = copy.deepcopy(model).requires_grad_(True)
    embeddings: Any = model.get_input_embeddings()
    width = int(embeddings.weight.shape[1])
    head = torch.nn.Linear(width, 1, device=model.device, dtype=model.dtype)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(source.normal(0.0, 1 / (width + 1), (1, width))))
        head.bias.zero_()
    found.config.tie_word_embeddings = False
    found.set_output_embeddings(head)
    return found
