"""A small mini-batch as an objective sees it, whole or some rows of it, and the gradient of its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from sfpo_bench.algorithms.protocols import BatchCounts, LossInputs, Objective
from tests.methods.members import kinds

GROUP, GROUPS, VOCABULARY, LIMIT = 4, 3, 7, 9
_LENGTHS = (1, 7, 3, 5, 4, 2, 6, 1, 7, 5, 3, 2)
_FIRST_ROW = 4  # of a later mini-batch of the step: rows are numbered within the step


def logits() -> Tensor:
    """Those of every token, which carry the gradient."""
    source = torch.Generator().manual_seed(0)
    shape = (GROUP * GROUPS, max(_LENGTHS), VOCABULARY)
    return torch.randn(shape, generator=source, dtype=torch.float64).requires_grad_(True)


def mini_batch(logits_BTV: Tensor, *, moved: float) -> LossInputs:
    """All rows, the first group without a signal; old and reference log-probs lie about `moved` from the present
    ones. What is there for some methods alone is drawn at random."""
    source = torch.Generator().manual_seed(1)
    rows, width, _ = logits_BTV.shape

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=source, dtype=torch.float64)

    mask_BT = torch.arange(width) < torch.tensor(_LENGTHS)[:, None]
    tokens_BT = torch.randint(VOCABULARY, (rows, width), generator=source)
    all_BTV = logits_BTV.log_softmax(dim=-1)
    log_probs_BT = all_BTV.gather(-1, tokens_BT[..., None])[..., 0].masked_fill(~mask_BT, 0.0)
    beside_BT = log_probs_BT.detach()
    advantages_B1 = draw(rows, 1)
    advantages_B1[:GROUP] = 0
    known: dict[str, Any] = {
        "log_probs_BT": log_probs_BT,
        "old_log_probs_BT": beside_BT + moved * draw(rows, width) * mask_BT,
        "reference_log_probs_BT": beside_BT + moved * draw(rows, width) * mask_BT,
        "advantages_BT": advantages_B1,
        "mask_BT": mask_BT,
        "counts": BatchCounts(rows, sum(_LENGTHS), LIMIT),
        "entropies_BT": -(all_BTV.exp() * all_BTV).sum(dim=-1).masked_fill(~mask_BT, 0.0),
        "block_lengths_B": torch.tensor([3.0, 4.0], dtype=torch.float64).repeat_interleave(rows // 2),
        "scores": {
            name: draw(rows, width) * mask_BT
            for cls in kinds("algorithm.modules").values()
            for name in sorted(cls().names)
        },
        "groups_B": torch.arange(GROUPS).repeat_interleave(GROUP),
        "rows_B": _FIRST_ROW + torch.arange(rows),
        "vocabulary": VOCABULARY,
    }
    for entry in fields(LossInputs):  # of methods that are yet to come: what their field is called says what it holds
        if entry.name not in known and "log_probs_BT" in entry.name:
            known[entry.name] = beside_BT + moved * draw(rows, width) * mask_BT
    return LossInputs(**known)


def weighted(inputs: LossInputs) -> LossInputs:
    """The same with weights of tokens and of rows."""
    source = torch.Generator().manual_seed(2)
    weights_BT = 0.5 + torch.rand(inputs.mask_BT.shape, generator=source, dtype=torch.float64)
    return replace(inputs, weights_BT=weights_BT, row_weights_B=0.5 + weights_BT[:, 0])


def select(inputs: LossInputs, rows: Sequence[int]) -> LossInputs:
    """Some rows, as a micro-batch has them: as wide as the longest, the counts those of the whole."""
    chosen = torch.tensor(rows)
    width = int(inputs.mask_BT[chosen].any(dim=0).sum())

    def part(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: part(one) for name, one in value.items()}
        if not isinstance(value, Tensor):
            return value
        return value[chosen] if value.ndim == 1 else value[chosen, :width]

    kept = {"statistics"}  # of the whole mini-batch
    return replace(inputs, **{e.name: part(getattr(inputs, e.name)) for e in fields(inputs) if e.name not in kept})


def loss_and_gradient(
    objective: Objective, inputs: LossInputs, logits_BTV: Tensor, parts: Sequence[Sequence[int]]
) -> tuple[float, Tensor]:
    """Of the whole mini-batch, whose rows are divided into `parts`."""
    if objective.uses_statistics:
        with torch.no_grad():
            inputs = replace(inputs, statistics=objective.statistics(inputs))
    losses = [objective.loss(select(inputs, rows)).value for rows in parts]
    total = sum(losses, torch.zeros((), dtype=torch.float64))
    [gradient] = torch.autograd.grad(total, [logits_BTV], retain_graph=True, materialize_grads=True)
    return float(total.detach()), gradient
