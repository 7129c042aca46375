"""What a step costs: the fit finds what was put in, measured steps are predicted from others, limits for many."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.experiments.step_costs import MeasuredStep, Network, StepCosts, StepSeconds, StepShape, fit, left_out
from sfpo_bench.reports.papers.pass_shares import published_shares, references
from sfpo_bench.reports.papers.published_results import published
from tests.conftest import Cli

RECORDED = Path(__file__).with_name("measured_steps.json")
COSTS = StepCosts("made up", 10**8, (0.1, 2e-3, 3e-5), (0.01, 1e-4), (0.05, 0.2, 1e-5, 2e-5), 0.3)
SHAPE = StepShape(64, 8, 100.0, 400.0, 1000.0, 256, 0.5, 4, 8, 4096)


def shapes(count: int) -> list[StepShape]:
    source = random.Random(0)
    return [
        StepShape(
            prompts=source.choice([8, 16, 32, 64]),
            group=source.choice([4, 8, 16]),
            prompt_tokens_mean=source.uniform(10, 200),
            response_tokens_mean=source.uniform(10, 500),
            response_tokens_max=source.uniform(500, 1000),
            side_by_side=source.choice([64, 256]),
            signal_share=source.uniform(0.2, 1),
            passes=source.choice([1, 2, 4]),
            optimizer_steps=source.choice([1, 2, 4, 8]),
            micro_batch_tokens=4096,
        )
        for _ in range(count)
    ]


def test_costs_that_made_the_seconds_are_found_again() -> None:
    made = [MeasuredStep(str(number), shape, COSTS.predict(shape)) for number, shape in enumerate(shapes(12))]
    found = fit("made up", 10**8, made)
    for name in ("rollout", "grading", "update"):
        assert getattr(found, name) == pytest.approx(getattr(COSTS, name), rel=1e-6, abs=1e-9)
    assert found.push == pytest.approx(0.3)
    assert all(ratio == pytest.approx(1) for ratio in left_out("made up", 10**8, made).values())


def test_a_step_that_is_left_out_has_no_part_in_its_prediction() -> None:
    """One of twelve took three times as long as its costs say: the eleven others foretell a third of it."""
    made = [MeasuredStep(str(number), shape, COSTS.predict(shape)) for number, shape in enumerate(shapes(12))]
    slow = StepSeconds(**{part: 3 * seconds for part, seconds in asdict(made[4].seconds).items()})
    made[4] = replace(made[4], seconds=slow)
    assert left_out("made up", 10**8, made)["4"] == pytest.approx(1 / 3)


def test_every_recorded_step_is_predicted_from_the_others_within_a_fifth() -> None:
    """Steps that benchmarks/step_costs.py measured; each left out in turn."""
    recorded = json.loads(RECORDED.read_text())
    steps = [
        MeasuredStep(one["name"], StepShape(**one["shape"]), StepSeconds(**one["seconds"])) for one in recorded["steps"]
    ]
    assert len(steps) >= 8 and max(s.seconds.in_turn for s in steps) > 5 * min(s.seconds.in_turn for s in steps)
    found = left_out(recorded["device"], recorded["parameters"], steps)
    assert all(0.8 <= ratio <= 1.2 for ratio in found.values()), found


def test_of_one_published_run_the_share_of_a_pass_in_another_follows() -> None:
    """Costs that have the hours of Qwen2.5-Math-1.5B on 4 GPUs (responses decoded side by side at the pace of the
    longest) give the 7B model's share on 8, within the factor 1.5 that a plan is good for."""
    hours = {one.model: one for one in references(published())[0].hours}
    small, large = hours["Qwen2.5-Math-1.5B"], hours["Qwen2.5-Math-7B"]
    shape, parameters = StepShape(256, 8, 150.0, 1000.0, 2560.0, 512, 1.0, 1, 4, 65536), 1_540_000_000
    seconds = {part: 3.6 * getattr(small, part) for part in ("training", "rollout", "other")}  # of one of 1,000 steps
    update = (0.0, 0.0, 0.0, seconds["training"] / (shape.tokens / 4))
    rollout = (0.0, seconds["rollout"] / 2560, 0.0)
    costs = StepCosts("4 H100", parameters, rollout, (seconds["other"], 0.0), update, 0.0)
    found = costs.predict(shape, Network(8, gigabytes_per_second=450), 7_620_000_000)
    share = large.training / (large.training + large.rollout + large.other)
    assert 1 / 1.5 < (found.update + found.exchange) / found.in_turn / share < 1.5


def test_costs_of_a_processor_do_not_give_the_shares_of_gpus() -> None:
    """What docs/distributed.md warns of: on a CPU a trained token costs no more than twice a sampled one."""
    recorded = json.loads(RECORDED.read_text())
    steps = [
        MeasuredStep(one["name"], StepShape(**one["shape"]), StepSeconds(**one["seconds"])) for one in recorded["steps"]
    ]
    costs = fit(recorded["device"], recorded["parameters"], steps)
    found = []
    for limit, share, devices in itertools.product((2560.0, 6144.0), (0.25, 1.0), (1, 8)):
        shape = StepShape(128, 8, 150.0, share * limit, limit, 512, 1.0, 1, 4, 65536)
        more = replace(shape, passes=4, optimizer_steps=16)
        one, four = (costs.predict(each, Network(devices), 1_540_000_000).in_turn for each in (shape, more))
        found.append((four / one - 1) / 3)
    printed = [one.share for one in published_shares()]
    assert f"{100 * min(found):.0f} to {100 * max(found):.0f} %" == "29 to 47 %"
    assert min(found) > 1.5 * max(printed)


def test_a_step_is_the_sums_that_the_module_states() -> None:
    """512 responses in two chunks, 211,200 tokens, four passes and one more for old log-probs, eight optimizer steps.
    On 48 devices the fullest has two prompts; on 128 one for rollouts and four responses of it for the update."""
    n = 64 * (100 + 8 * 400)
    one, few, many = (COSTS.predict(SHAPE, Network(devices)) for devices in (1, 48, 128))
    assert one.rollout == pytest.approx(0.1 + 2e-3 * 2 * 1000 + 3e-5 * n)
    assert one.grading == pytest.approx(0.01 + 1e-4 * 512)
    assert one.update == pytest.approx(0.05 + 0.2 * 8 + 1e-5 * 5 * n + 2e-5 * 4 * 0.5 * n)
    assert few.rollout == pytest.approx(0.1 + 2e-3 * 1000 + 3e-5 * 2 * 3300)
    assert few.grading == pytest.approx(0.01 + 1e-4 * 16)
    assert many.rollout == pytest.approx(0.1 + 2e-3 * 1000 + 3e-5 * 3300)
    assert many.update == pytest.approx(0.05 + 0.2 * 8 + (1e-5 * 5 + 2e-5 * 4 * 0.5) * (100 + 4 * 400))
    # 26,400 tokens on each of eight, so 3.2 micro-batches of 4096 for each of eight optimizer steps in four passes.
    eight = Network(8, gigabytes_per_second=1.0).seconds(SHAPE, 10**9)
    assert eight == pytest.approx((4 * 8 * (2 + 2 + 4) + 2) * 7 / 8)


def test_seconds_in_turn_are_all_of_them_and_overlapped_the_longer_side_and_the_push() -> None:
    update_longer, rollout_longer = StepSeconds(3, 1, 5, 2, 4), StepSeconds(9, 1, 5, 2, 4)
    assert (update_longer.in_turn, update_longer.overlapped) == (15, 11)
    assert (rollout_longer.in_turn, rollout_longer.overlapped) == (21, 12)


@pytest.mark.parametrize("devices", [2, 8, 64, 1024])
def test_more_devices_never_divide_a_part_by_more_than_their_number(devices: int) -> None:
    one, many = COSTS.predict(SHAPE), COSTS.predict(SHAPE, Network(devices))
    for part in ("rollout", "grading", "update"):
        assert getattr(one, part) / devices <= getattr(many, part) <= getattr(one, part)
    assert many.rollout >= 2e-3 * SHAPE.response_tokens_max, "the longest response is decoded token after token"
    assert many.push == one.push and one.exchange == 0 < many.exchange


def test_beside_each_other_rollouts_and_update_take_no_longer_than_in_turn_and_no_less_than_the_longer() -> None:
    for shape in shapes(20):
        found = COSTS.predict(shape, Network(8))
        longer = max(found.rollout, found.update + found.exchange)
        assert longer <= found.overlapped <= found.in_turn


def test_exchange_is_volume_over_bandwidth() -> None:
    """Two bytes a weight gathered for forward, backward and rollouts, four a gradient, in one micro-batch a step."""
    shape = replace(SHAPE, prompts=1, group=1, passes=1, optimizer_steps=1)
    found = Network(2, gigabytes_per_second=1.0).seconds(shape, 10**9)
    assert found == pytest.approx((2 + 2 + 4 + 2) / 2)
    assert Network(2, gigabytes_per_second=2.0).seconds(shape, 10**9) == pytest.approx(found / 2)
    assert Network(1).seconds(shape, 10**9) == 0


def test_a_larger_model_costs_in_proportion_but_its_grading_does_not() -> None:
    small, large = COSTS.predict(SHAPE), COSTS.predict(SHAPE, parameters=2 * COSTS.parameters)
    assert (large.rollout, large.update, large.push) == pytest.approx((2 * small.rollout, 2 * small.update, 0.6))
    assert large.grading == small.grading


def test_costs_are_read_back_and_what_is_no_costs_is_refused(tmp_path: Path) -> None:
    COSTS.save(tmp_path / "costs.json")
    assert StepCosts.read(tmp_path / "costs.json") == COSTS
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no step costs"):
        StepCosts.read(tmp_path / "other.json")
    with pytest.raises(MissingDataError, match=r"benchmarks/step_costs\.py` measures"):
        StepCosts.read(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="at least 5"):
        fit("", 1, [])


def test_the_plan_prints_seconds_for_one_to_many_devices(tmp_path: Path, cli: Cli) -> None:
    COSTS.save(tmp_path / "costs.json")
    done = cli("train", "tracking=none", "--plan=costs.json")
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    found = [row[0] for row in rows if len(row) == 10]
    assert found == ["1", "8", "16", "32", "64", "128", "256", "512", "1,024"]
    missing = cli("train", "tracking=none", "--plan=no.json", check=False)
    assert missing.returncode == 2 and "no.json does not exist" in missing.stderr
