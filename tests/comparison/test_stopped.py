"""A comparison whose runs end at their target costs what one does whose runs go on, and runs no step more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tests.in_process import sfpo_bench

ARMS = ("~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate", "comparison.targets=[0.05,0.12]")
COMPARE = ("compare", *TINY, *ARMS, "comparison.seeds=2", "comparison.slots=1", "tracking=none")
EVERY = ("training.evaluate_every=1", "comparison.split=select", "evaluation.responses=0")
STOP = ("training.stop_at.accuracy=0.12", "evaluation.select_responses=32")


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "results/arithmetic/summary.json").read_text())
    return content


@pytest.mark.slow
def test_costs_on_responses_are_those_of_runs_that_go_on(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder, more in ((whole, STOP[1:]), (stopped, STOP)):
        folder.mkdir()
        done = sfpo_bench(folder, *COMPARE, *EVERY, *more)
        assert done.code == 0, done.out + done.err
    found = [
        {(row["arm"], row["target"]): row for row in summary(folder)["absolute"]["costs"] if row["axis"] == "responses"}
        for folder in (whole, stopped)
    ]
    assert found[0] == found[1]
    curves = {(arm["name"], c["seed"]): c for arm in summary(stopped)["arms"] for c in arm["curves"]}
    ended = [curve for curve in curves.values() if curve["planned_share"] < 1]
    assert ended, "some run gets there"
    for curve in ended:
        accuracies = [point["accuracy"] for point in curve["points"]]
        assert accuracies[-1] >= 0.12 > max(accuracies[1:-1], default=0.0) and curve["step"] == len(accuracies) - 1
    again = sfpo_bench(stopped, *COMPARE, *EVERY, *STOP, "training.steps=7")
    assert again.code == 0, again.out + again.err
    later = {(arm["name"], c["seed"]): c for arm in summary(stopped)["arms"] for c in arm["curves"]}
    for place, curve in curves.items():
        assert later[place]["step"] == (curve["step"] if curve in ended else later[place]["step"])
    refused = sfpo_bench(stopped, *COMPARE, *EVERY, *STOP, "training.steps=7", "training.stop_at.patience=2")
    assert refused.code != 0 and "training.stop_at: sampled accuracy of 0.12" in refused.out + refused.err
