"""Floating-point operations of a dense decoder, from its shape and the lengths of its sequences: pure arithmetic.

With W the weights of all matrix products (projections, feed-forward, output head) and n tokens, each of which attends
to itself and the tokens before it, `pairs` of query and key in all,

    forward     2 W n + 4 layers heads head_size pairs          a multiplication and an addition per weight and token
    training    3 times that                                    a backward pass takes twice a forward pass

What is computed again to save memory, norms, softmax, and the optimizer are left out, as is usual for model FLOPs.
Others count otherwise; `Convention` has their ways, so that their numbers can be had from the same shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sfpo_bench.models.shapes import Shape


class Convention(StrEnum):
    """Which operations count.

    `products`: every matrix product, as above. `verl`: verl's FlopsCounter, which takes the look-up in the embedding
    for a product as well. `transformers`: `floating_point_ops` of its Trainer, which those of TRL inherit: 6 for
    every parameter outside of the embedding, hence none for a tied head, and none for attention.
    """

    products = "products"
    verl = "verl"
    transformers = "transformers"


def product_weights(shape: Shape) -> int:
    """Weights of the matrix products that each token goes through."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    layer = shape.hidden * (2 * queries + 2 * keys) + 3 * shape.hidden * shape.feed_forward
    return shape.layers * layer + shape.embedding


def forward_flops(shape: Shape, tokens: float, pairs: float) -> float:
    """Operations of a forward pass over `tokens`, with so many pairs of a query and a key it attends to."""
    return 2.0 * product_weights(shape) * tokens + 4.0 * shape.layers * shape.heads * shape.head_size * pairs


def causal_pairs(length: float, before: float = 0.0) -> float:
    """Pairs of query and key of `length` tokens that follow `before` others: each sees those and itself."""
    return length * before + length * (length + 1) / 2


def training_flops(shape: Shape, lengths: Iterable[int], convention: Convention = Convention.products) -> float:
    """Operations of a forward and a backward pass over sequences of these lengths."""
    lengths = list(lengths)
    tokens = sum(lengths)
    if convention is Convention.transformers:
        return 6.0 * (shape.parameters - shape.embedding) * tokens
    found = 3.0 * forward_flops(shape, tokens, sum(map(causal_pairs, lengths)))
    return found + 6.0 * shape.embedding * tokens if convention is Convention.verl else found
