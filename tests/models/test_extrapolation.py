"""Both extrapolations are exact where their assumption holds; rank one is what a decomposition says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sfpo_bench.models.extrapolation import Extrapolation, extrapolated

STEPS = (10, 15, 20, 40)


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("method", list(Extrapolation))
@pytest.mark.parametrize("shape", [(7,), (4, 5), (1,)])
def test_on_a_line_both_are_exact(method: Extrapolation, shape: tuple[int, ...]) -> None:
    start, slope = drawn(*shape, seed=0), drawn(*shape, seed=1)
    weights = [start + step * slope for step in STEPS]
    found = extrapolated(method, STEPS, weights, 100)
    assert torch.allclose(found, start + 100 * slope, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", list(Extrapolation))
def test_what_does_not_move_stays(method: Extrapolation) -> None:
    weight = drawn(3, 4, seed=0)
    assert torch.equal(extrapolated(method, STEPS, [weight] * len(STEPS), 100), weight)


def test_noise_across_the_common_direction_is_left_out_by_rank_one_alone() -> None:
    """The last checkpoint has an error at a right angle to the way; a line through two points carries it on."""
    direction = torch.zeros(50, dtype=torch.float64)
    direction[0] = 1.0
    error = torch.zeros(50, dtype=torch.float64)
    error[1] = 0.01
    weights = [step * direction for step in STEPS]
    weights[-1] = weights[-1] + error
    truth = 100 * direction
    errors = {method: float((extrapolated(method, STEPS, weights, 100) - truth).norm()) for method in Extrapolation}
    assert errors[Extrapolation.linear] == pytest.approx(0.03)
    assert errors[Extrapolation.rank_one] < 0.03


def test_rank_one_is_the_first_triplet_of_the_decomposition_and_a_line_of_least_squares() -> None:
    weights = [drawn(30, 20, seed=seed) for seed in range(4)]
    changes = torch.stack([(weight - weights[0]).reshape(-1) for weight in weights])
    left, sizes, right = torch.linalg.svd(changes, full_matrices=False)
    table = torch.tensor([[1.0, step] for step in STEPS], dtype=torch.float64)
    line = torch.linalg.lstsq(table, (sizes[0] * left[:, 0])[:, None]).solution[:, 0]
    expected = weights[0].reshape(-1) + (line[0] + 100 * line[1]) * right[0]
    found = extrapolated(Extrapolation.rank_one, STEPS, weights, 100)
    assert torch.allclose(found.reshape(-1), expected, rtol=1e-9, atol=1e-9)


def test_it_is_computed_in_double_precision_and_given_back_in_the_weights_own() -> None:
    start, slope = 1.0, 1e-7
    weights = [torch.tensor([start + step * slope]).float() for step in STEPS]
    found = extrapolated(Extrapolation.linear, STEPS, weights, 10_000)
    first, last = float(weights[0]), float(weights[-1])
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(last + (10_000 - 40) / 30 * (last - first), rel=1e-7)
