"""What a step costs in the units of the field: counted from the batch that was trained on, in closed form."""

from __future__ import annotations

import pytest
import torch

from sfpo_bench.core.types import Completion, FinishReason
from sfpo_bench.models.flops import causal_pairs, forward_flops, training_flops
from sfpo_bench.models.shapes import Shape
from sfpo_bench.training.batch import TrainBatch, assemble
from sfpo_bench.training.device_peaks import Peak, listed_peak, peak_of
from sfpo_bench.training.throughput import Machine, PassTokens, shape_or_none

SHAPE = Shape(23, 16, 32, 2, 2, 1, 8, tied=True)
LENGTHS = ((3, 2), (3, 5), (4, 1), (4, 6))  # tokens of prompt and response; rows of a prompt lie side by side


def batch(advantages: list[float]) -> TrainBatch:
    completions = [
        Completion("p", row, (prompt,) * prompt, (1,) * length, (-1.0,) * length, "", FinishReason.stopped)
        for row, (prompt, length) in enumerate(LENGTHS)
    ]
    return assemble(completions, torch.tensor(advantages), 8)


def through(rows: list[int]) -> tuple[float, float]:
    """Tokens and pairs of these rows and of their prompts, one after another."""
    prompts = {LENGTHS[row][0] for row in rows}
    tokens = sum(prompts) + sum(LENGTHS[row][1] for row in rows)
    pairs = sum(map(causal_pairs, prompts)) + sum(causal_pairs(LENGTHS[row][1], LENGTHS[row][0]) for row in rows)
    return tokens, pairs


def test_a_pass_goes_through_each_prompt_once_and_learns_from_rows_with_a_signal() -> None:
    one = batch([1.0, 0.0, 0.0, 0.0])
    assert PassTokens.of(one, needs_every_row=False) == PassTokens(*through([0, 1, 2, 3]), *through([0]))
    assert PassTokens.of(one, needs_every_row=True) == PassTokens(*through([0, 1, 2, 3]), *through([0, 1, 2, 3]))
    dropped = batch([1.0, 2.0, 0.0, 3.0]).weighted(torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert PassTokens.of(dropped, needs_every_row=False) == PassTokens(*through([0, 2]), *through([0]))
    nothing = PassTokens.of(batch([0.0] * 4), needs_every_row=False)
    assert nothing == PassTokens(*through([0, 1, 2, 3]), 0.0, 0.0)


SECONDS = {"step_seconds": 10.0, "rollout_seconds": 5.0, "grading_seconds": 0.5, "update_seconds": 4.0}
SECONDS["push_seconds"] = 0.25


def machine(devices: int = 1, peak: float = 0.0, *, shape: Shape | None = SHAPE, trains: bool = True) -> Machine:
    return Machine(torch.device("cpu"), devices, Peak(peak, "told"), shape, trains_weights=trains)


def test_scalars_are_rates_per_device_and_shares_of_the_step() -> None:
    work = PassTokens(100.0, 1000.0, 100.0, 1000.0)
    found = machine(devices=2, peak=1e6).metrics(SECONDS, 60, work, passes=4)
    assert {key: found[f"{key}_share"] for key in ("rollout", "grading", "update", "push")} == {
        "rollout": 0.5, "grading": 0.05, "update": 0.4, "push": 0.025
    }  # fmt: skip
    assert found["tokens_per_second"] == 60 / 10 / 2
    assert found["generated_tokens_per_second"] == 60 / 5 / 2
    assert found["trained_tokens_per_second"] == 4 * 100 / 4 / 2
    flops = 3 * forward_flops(SHAPE, 100, 1000)
    assert found["update_flops_per_second"] == pytest.approx(4 * flops / 4 / 2)
    assert found["update_flops_utilization"] == pytest.approx(found["update_flops_per_second"] / 1e6)


def test_what_needs_no_gradient_and_frozen_weights_cost_less_and_what_is_not_known_is_absent() -> None:
    one, seconds = PassTokens.of(batch([1.0] * 4), needs_every_row=True), {**SECONDS, "update_seconds": 1.0}
    whole = machine().metrics(seconds, 1, one, 1)["update_flops_per_second"]
    forward = forward_flops(SHAPE, one.tokens, one.pairs)
    assert whole == 3 * forward
    assert machine(trains=False).metrics(seconds, 1, one, 1)["update_flops_per_second"] == 2 * forward
    silent = PassTokens.of(batch([0.0] * 4), needs_every_row=False)
    assert machine().metrics(seconds, 1, silent, 1)["update_flops_per_second"] == forward
    assert "update_flops_utilization" not in machine().metrics(seconds, 1, one, 1)
    assert "update_flops_per_second" not in machine(shape=None).metrics(seconds, 1, one, 1)
    assert shape_or_none({"model_type": "mamba"}) is None
    # A row that shares its prompt with no other is a sequence by itself.
    alone = batch([1.0] * 4).select(torch.tensor([1, 3]))
    counted = machine().metrics(seconds, 1, PassTokens.of(alone, needs_every_row=True), 1)
    assert counted["update_flops_per_second"] == training_flops(SHAPE, [3 + 5, 4 + 6])


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.0),
        ("NVIDIA H20", 148.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L40S", 362.05),
        ("NVIDIA L4", 121.0),
        ("NVIDIA RTX A4000", 0.0),
        ("Some GPU", 0.0),
    ],
)
def test_a_device_is_found_by_whole_words_of_its_name(name: str, tflops: float) -> None:
    assert listed_peak(name, "bfloat16").flops_per_second == pytest.approx(tflops * 1e12)


def test_a_cpu_is_measured_and_says_so_and_a_stated_peak_counts() -> None:
    before = torch.get_rng_state()
    found = peak_of(torch.device("cpu"), torch.float32)
    assert found.flops_per_second > 1e8 and found.source.startswith("measured: products of")
    assert torch.equal(before, torch.get_rng_state())
    assert peak_of(torch.device("cpu"), torch.float32, 2.5) == Peak(2.5e12, "stated: training.peak_tflops")
    assert listed_peak("NVIDIA H100 PCIe", "float64").flops_per_second == 0.0
    assert listed_peak("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bfloat16").flops_per_second == 0.0, "a part of a device"
