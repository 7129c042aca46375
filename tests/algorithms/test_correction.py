"""The engine's mismatch: raw ratios told as they are, weights that do what their names say."""

from __future__ import annotations

import math

import pytest
import torch

from sfpo_bench.algorithms.correction import PERFECT_MATCH, Correction, loss_weights, mismatch

MASK = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
LOG_RATIOS = torch.tensor([[0.1, -0.2, 0.3], [1.0, 1.5, 9.0], [-2.0, 9.0, 9.0]])


def test_an_engine_that_agrees_is_a_perfect_match() -> None:
    assert mismatch(torch.zeros(7)) == PERFECT_MATCH == mismatch(torch.zeros(0))


def test_the_statistics_are_those_of_the_ratios() -> None:
    ratios = LOG_RATIOS[MASK].double().exp()
    found = mismatch(LOG_RATIOS[MASK])
    assert found.ratio_mean == pytest.approx(float(ratios.mean()), rel=1e-6)
    assert found.ratio_max == pytest.approx(float(ratios.max()), rel=1e-6)
    share = float(ratios.sum() ** 2 / (len(ratios) * ratios.square().sum()))
    assert found.effective_sample_share == pytest.approx(share, rel=1e-6)


def test_one_token_with_all_the_weight_is_an_effective_sample_of_one() -> None:
    found = mismatch(torch.tensor([400.0, 0.0, 0.0, 0.0]))
    assert found.effective_sample_share == pytest.approx(0.25) and math.isfinite(found.ratio_max)


def loop(correction: Correction, cap: float) -> list[list[float]]:
    """The weights as the module's text says them, one token at a time."""
    rows = [[float(r) for r, m in zip(row, mask, strict=True) if m] for row, mask in zip(LOG_RATIOS, MASK, strict=True)]
    kept = [1 / cap <= math.exp(sum(row)) <= cap for row in rows]
    weights = []
    for row, accepted in zip(rows, kept, strict=True):
        sequence = math.exp(sum(row))
        one = {
            Correction.none: [1.0 for _ in row],
            Correction.truncate: [min(math.exp(r), cap) for r in row],
            Correction.sequence_mask: [sequence if sequence <= cap else 0.0 for _ in row],
            Correction.reject: [len(rows) / max(1, sum(kept)) if accepted else 0.0 for _ in row],
        }[correction]
        weights.append(one + [0.0] * (3 - len(one)))
    return weights


@pytest.mark.parametrize("correction", Correction)
@pytest.mark.parametrize("cap", [1.05, 2.0, 20.0])
def test_weights_are_those_of_the_loop(correction: Correction, cap: float) -> None:
    found = loss_weights(LOG_RATIOS, MASK, correction, cap)
    assert torch.allclose(found, torch.tensor(loop(correction, cap)), rtol=1e-5)


@pytest.mark.parametrize(("correction", "cap"), [("truncate", 2.0), ("sequence_mask", 3.0), ("reject", 2.0)])
def test_no_cap_means_the_published_one(correction: str, cap: float) -> None:
    kind, mask = Correction(correction), torch.ones(6, 1, dtype=torch.bool)
    log_ratios = torch.tensor([[0.3], [1.9], [2.1], [2.9], [3.1], [9.0]]).log()  # on both sides of either cap
    found = loss_weights(log_ratios, mask, kind, 0.0)
    assert torch.equal(found, loss_weights(log_ratios, mask, kind, cap))
    assert not torch.equal(found, loss_weights(log_ratios, mask, kind, 5.0 - cap))


@pytest.mark.parametrize("correction", Correction)
def test_a_perfect_match_is_left_alone(correction: Correction) -> None:
    assert torch.equal(loss_weights(torch.zeros(3, 3), MASK, correction, 0.0), MASK.float())


def test_an_uncapped_truncation_makes_the_engines_sample_the_trainers() -> None:
    """E_mu[rho f] = E_pi[f], exactly, summed over a whole vocabulary."""
    generator = torch.Generator().manual_seed(0)
    pi, mu = torch.randn(2, 9, generator=generator).log_softmax(-1)
    f = torch.randn(9, generator=generator)
    weights = loss_weights((pi - mu)[:, None], torch.ones(9, 1, dtype=torch.bool), Correction.truncate, 1e9)[:, 0]
    assert float((mu.exp() * weights * f).sum()) == pytest.approx(float((pi.exp() * f).sum()), rel=1e-5)
