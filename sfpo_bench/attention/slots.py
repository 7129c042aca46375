"""Maps packed tokens to the padded grids of attention and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class Slots:
    """The distinct positions of packed tokens [N, ...] in a grid [*shape, ...].

    `places_N` are flat and ascending. A grid without padding is not copied.
    """

    def __init__(self, places_N: Tensor, shape: tuple[int, ...]) -> None:
        self.places_N, self.shape = places_N, shape
        self.full = len(places_N) == math.prod(shape)

    def place(self, tokens: Tensor) -> Tensor:
        """The grid of these tokens, with zeros on padding."""
        if not self.full:
            # torch types no `apply`.
            tokens = _Place.apply(tokens, self.places_N, math.prod(self.shape))  # type: ignore[no-untyped-call]
        return tokens.reshape(*self.shape, *tokens.shape[1:])

    def pick(self, grid: Tensor) -> Tensor:
        """The packed tokens of a grid, in order."""
        rows = grid.reshape(-1, *grid.shape[len(self.shape) :])
        if self.full:
            return rows
        picked: Tensor = _Pick.apply(rows, self.places_N)  # type: ignore[no-untyped-call]  # torch types no apply
        return picked


# Positions are distinct, so each direction is the other's derivative, without the sums of a general gather.


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, places_N: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(places_N)
        return tokens.new_zeros(size, *tokens.shape[1:]).index_copy_(0, places_N, tokens)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class _Pick(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, places_N: Tensor) -> Tensor:
        ctx.save_for_backward(places_N)
        ctx.size = len(rows)
        return rows.index_select(0, places_N)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        out = gradient.new_zeros(ctx.size, *gradient.shape[1:])
        return out.index_copy_(0, ctx.saved_tensors[0], gradient), None
