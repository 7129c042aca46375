"""The layout of a batch for one forward pass, made on the host, and batches on the device of the model.

Everything that decides about the work of a step is computed on the host: mini-batches, micro-batches, widths, indices.
A GPU therefore never waits to tell the host a length. All tensors of several batches go to the device in one copy for
each number format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sfpo_bench.attention.interface import positions_of
from sfpo_bench.attention.packing import Packing
from sfpo_bench.attention.slots import Slots
from sfpo_bench.training.batch import TrainBatch, micro_batches, share_of_rows
from sfpo_bench.training.ranks import Ranks, with_dummies


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of the tokens of a batch.

    N response tokens have a loss: `rows_N` and `places_N` in the [B, T] grid of `mask_BT`, row by row, with the token
    ids `targets_N`. The packed row has all prompts once, then all responses without their last token, which predicts
    nothing: token ids `ids_M` at `positions_M`, arranged by `packing`. `predictors_N` are the places in it that predict
    the response tokens. `sequence_tokens` is the length of the longest prompt with its response.
    """

    mask_BT: Tensor
    rows_N: Tensor
    places_N: Tensor
    targets_N: Tensor
    ids_M: Tensor
    positions_M: Tensor
    predictors_N: Tensor
    packing: Packing
    sequence_tokens: int

    @classmethod
    def of(cls, batch: TrainBatch) -> Layout:
        """The layout of a batch on the host."""
        mask_BT = batch.loss_mask_BT()
        rows_N, places_N = mask_BT.nonzero(as_tuple=True)
        # Packing needs responses grouped by prompt; a stable sort keeps the order within a group.
        order_B = torch.argsort(batch.owners_B, stable=True)
        owners_B, run_B = batch.owners_B[order_B], batch.response_tokens_B[order_B] - 1
        prompt_ids_M = batch.prompts_PL[_real(batch.prompt_tokens_P)]
        response_ids_M = batch.responses_BT[order_B][:, : max(1, int(run_B.max()))][_real(run_B)]
        # Positions of a response continue after its prompt.
        first_B = batch.prompt_tokens_P[owners_B]
        of_prompts_M = positions_of(batch.prompt_tokens_P, torch.zeros_like(batch.prompt_tokens_P))
        return cls(
            mask_BT=mask_BT,
            rows_N=rows_N,
            places_N=places_N,
            targets_N=batch.responses_BT[rows_N, places_N],
            ids_M=torch.cat([prompt_ids_M, response_ids_M]),
            positions_M=torch.cat([of_prompts_M, positions_of(run_B, first_B)]),
            predictors_N=_predictors(batch, order_B, run_B)[mask_BT],
            packing=Packing.of(batch.prompt_tokens_P, run_B, owners_B),
            sequence_tokens=int((batch.prompt_tokens_P[batch.owners_B] + batch.response_tokens_B).max()),
        )


@dataclass(frozen=True, slots=True)
class PlacedBatch:
    """The rows of a batch and their layout on the model's device, and the same rows on the host."""

    rows: TrainBatch
    layout: Layout
    host: TrainBatch


def placed(batches: Sequence[TrainBatch], device: torch.device) -> list[PlacedBatch]:
    """These batches of the host on `device`, with their layouts."""
    wanted = [(batch, Layout.of(batch)) for batch in batches]
    tensors: list[Tensor] = []

    def noted(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    _mapped(wanted, noted)
    arrived = to_device(tensors, device)
    return [
        PlacedBatch(rows, layout, host)
        for (rows, layout), host in zip(_mapped(wanted, lambda _: next(arrived)), batches, strict=True)
    ]


def micro_batches_of_rank(
    batch: TrainBatch, token_budget: int, window: int, ranks: Ranks, device: torch.device
) -> Iterator[tuple[PlacedBatch, bool]]:
    """This rank's micro-batches of `batch`, padded with dummies to the largest number on any rank (`with_dummies`)."""
    rows = share_of_rows(batch, ranks.rank, ranks.count)
    mine = micro_batches(batch.select(rows), token_budget, window) if len(rows) else []
    found = list(with_dummies(mine, lambda: batch.select(torch.zeros_like(batch.rows_B[:1])), ranks))
    counted = [counts for _, counts in found]
    yield from zip(placed([micro for micro, _ in found], device), counted, strict=True)


def to_device(tensors: Sequence[Tensor], device: torch.device) -> Iterator[Tensor]:
    """The tensors on `device`, in order: one copy for each number format, however many tensors there are."""
    flat: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        flat.setdefault(tensor.dtype, []).append(tensor.reshape(-1))
    moved = {
        dtype: iter(torch.cat(parts).to(device).split([part.numel() for part in parts]))
        for dtype, parts in flat.items()
    }
    for tensor in tensors:
        yield next(moved[tensor.dtype]).view(tensor.shape)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The value with every tensor inside it changed, in one order."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Slots):
        return Slots(change(value.places_N), value.shape)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _mapped(getattr(value, field.name), change) for field in fields(value)})
    if isinstance(value, Mapping):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(inner, change) for inner in value)
    return value


def _predictors(batch: TrainBatch, order_B: Tensor, run_B: Tensor) -> Tensor:
    """The place in the packed row that predicts each response token, [B, T].

    This is the prompt's last token for a first response token, and the preceding token for the others.
    """
    # Place of each prompt's last token, which predicts the first token of all its responses.
    last_P = batch.prompt_tokens_P.cumsum(0) - 1
    packed_B = torch.empty_like(run_B)
    # Place of each response's first token, in batch order.
    packed_B[order_B] = int(last_P[-1]) + 1 + run_B.cumsum(0) - run_B
    places_T = torch.arange(batch.responses_BT.shape[1], device=run_B.device)
    places_BT = packed_B[:, None] + places_T - 1
    places_BT[:, 0] = last_P[batch.owners_B]
    return places_BT


def _real(tokens_B: Tensor) -> Tensor:
    """The mask [B, longest, at least 1] of valid tokens for rows of these lengths."""
    return torch.arange(max(1, int(tokens_B.max())), device=tokens_B.device) < tokens_B[:, None]
