"""A run in several processes learns what one process learns: weights, statistics, triggers. Reposition is silent."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sfpo_bench.training.batch import share_of_rows
from sfpo_bench.training.ranks import ALONE, Ranks
from tests.training import ranks_worker
from tests.training.policies import batch, policy
from tests.training.ranks_worker import STEPS, Found, cases, learn, model_of

ROOT = Path(__file__).parents[2]
PROCESSES = [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)]

FoundBy = Callable[[int], list[dict[str, Found]]]
LeftBy = Callable[[int], Path]


@pytest.fixture(scope="module")
def left_by(tmp_path_factory: pytest.TempPathFactory) -> LeftBy:
    """The folder in which so many ranks left what they found."""

    @functools.cache
    def learned(processes: int) -> Path:
        folder = tmp_path_factory.mktemp(f"ranks-{processes}")
        arguments = [sys.executable, "-m", ranks_worker.__name__]
        ranks = [
            subprocess.Popen(
                [*arguments, f"{rank}", f"{processes}", f"{folder}"], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
            for rank in range(processes)
        ]
        try:
            errors = [rank.communicate(timeout=1_200)[1] for rank in ranks]  # for all cases, on a busy machine too
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        assert [rank.returncode for rank in ranks] == [0] * processes, errors
        return folder

    return learned


@pytest.fixture(scope="module")
def found_by(left_by: LeftBy) -> FoundBy:
    """What each of so many ranks found, case by case."""

    @functools.cache
    def learned(processes: int) -> list[dict[str, Found]]:
        folder = left_by(processes)
        loaded = [torch.load(folder / f"found-{rank}.pt", weights_only=False) for rank in range(processes)]
        return [{name: Found(**found) for name, found in one.items()} for one in loaded]

    return learned


@functools.cache
def alone(name: str) -> Found:
    return learn(cases()[name], ALONE)


def difference(found: Found, expected: Found) -> float:
    """The largest difference of a weight."""
    return max(float((found.weights[n].double() - w.double()).abs().max()) for n, w in expected.weights.items())


def displacement(name: str, found: Found) -> float:
    """How far the weights moved from their start, Euclidean."""
    start = {n: p.detach().double() for n, p in model_of(cases()[name]).named_parameters()}
    return math.sqrt(sum(float((w.double() - start[n]).square().sum()) for n, w in found.weights.items()))


@pytest.mark.slow
@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("name", [name for name, case in cases().items() if case.dtype == torch.float64])
def test_in_fp64_the_weights_are_those_of_one_process(name: str, processes: int, found_by: FoundBy) -> None:
    """Unequal lengths, ranks without rows, ranks without signal, every term of the loss; SGD and AdamW."""
    expected = alone(name)
    assert 1e-3 < displacement(name, expected) < 10
    for found in found_by(processes):
        assert difference(found[name], expected) <= 1e-10


@pytest.mark.parametrize("processes", PROCESSES)
def test_in_fp32_with_adamw_and_clipping_they_are_so_within_rounding(processes: int, found_by: FoundBy) -> None:
    name = "adamw in fp32"
    expected, found = alone(name), found_by(processes)[0][name]
    gap = math.sqrt(sum(float((found.weights[n] - w).square().sum()) for n, w in expected.weights.items()))
    assert max(stage["gradient_norm"] for step in expected.stages for stage in step) > 1, "clipping is at work"
    assert gap <= 1e-4 * displacement(name, expected)


@pytest.mark.parametrize("processes", PROCESSES)
def test_in_bf16_the_masters_are_fp32_and_move_alike(processes: int, found_by: FoundBy) -> None:
    """Rounding to bf16 differs between layouts; the direction of three steps does not."""
    expected, found = alone("bf16"), found_by(processes)[0]["bf16"]
    start = {n: p.detach().float() for n, p in policy(dtype=torch.bfloat16).named_parameters()}
    moved = [torch.cat([(f.weights[n] - start[n]).flatten() for n in start]) for f in (expected, found)]
    assert all(weight.dtype == torch.float32 for weight in found.weights.values())
    assert float(torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0)) > 0.9


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("name", [name for name, case in cases().items() if case.dtype == torch.float64])
def test_every_rank_knows_the_statistics_of_the_whole_batch(name: str, processes: int, found_by: FoundBy) -> None:
    expected = alone(name)
    for found in found_by(processes):
        for mine, whole in zip(found[name].stages, expected.stages, strict=True):
            assert [_close(stage) for stage in mine] == whole
        assert [_close(reading) for reading in found[name].readings] == expected.readings


def _close(record: dict[str, Any]) -> dict[str, Any]:
    """The record, for a comparison to nine digits."""
    return {
        key: _close(value)
        if isinstance(value, dict)
        else pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)
        if isinstance(value, float)
        else value
        for key, value in record.items()
    }


@pytest.mark.parametrize("processes", PROCESSES)
def test_all_ranks_agree_to_the_last_bit_on_what_decides(processes: int, found_by: FoundBy) -> None:
    """The trigger's window and latch, the norms a step is clipped by, the losses a step is refused for."""
    first, *others = found_by(processes)
    for name in cases():
        for other in others:
            assert str(other[name].rule) == str(first[name].rule)
            assert str(other[name].stages) == str(first[name].stages)
    assert len(first["mini-batches"].rule["entropies"]) == STEPS


@pytest.mark.parametrize("processes", PROCESSES)
def test_critics_learn_what_they_do_in_one_process_each_from_its_share(processes: int, left_by: LeftBy) -> None:
    expected, measured = ranks_worker.learned_critics(ALONE)
    for rank in range(processes):
        weights, found = torch.load(left_by(processes) / f"critics-{rank}.pt", weights_only=False)
        assert weights.keys() == expected.keys()
        assert max(float((weights[name] - weight).abs().max()) for name, weight in expected.items()) <= 1e-10
        assert [_close(one) for one in found] == measured


@pytest.mark.parametrize("processes", PROCESSES)
def test_snapshot_and_reposition_do_not_communicate(processes: int, found_by: FoundBy) -> None:
    for found in found_by(processes):
        assert [case.reposition_collectives for case in found.values()] == [0] * len(cases())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 16, 40])
def test_every_row_is_computed_by_one_rank_and_none_has_much_more_than_its_part(count: int) -> None:
    rows = batch(8, seed=3)
    shares = [share_of_rows(rows, rank, count) for rank in range(count)]
    assert sorted(torch.cat(shares).tolist()) == list(range(len(rows)))
    tokens = [int(rows.response_tokens_B[share].sum()) for share in shares]
    longest = int(rows.response_tokens_B.max() + rows.prompt_tokens_P.max())
    assert max(tokens) <= sum(tokens) / count + 2 * longest


def test_shares_are_consecutive_and_whole() -> None:
    class Third(Ranks):
        count = 3

    items = list(range(8))
    shares = []
    for rank in range(3):
        ranks = Third()
        ranks.rank = rank
        shares.append(list(ranks.share(items)))
    assert [item for share in shares for item in share] == items and max(map(len, shares)) - min(map(len, shares)) == 1
    assert ALONE.share(items) == items
