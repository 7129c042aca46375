"""`extrapolate` on a real run: the weights that the formula gives, a folder that loads, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from sfpo_bench.models.extrapolation import Extrapolation, extrapolated
from sfpo_bench.training.checkpoint import CheckpointStore
from tests.in_process import sfpo_bench

TRAIN = (
    *("train", "algorithm=sfpo", "tracking=none", "rollout.prompts=4", "rollout.group=4", "training.steps=4"),
    *("training.evaluate_every=4", "evaluation.responses=8", "evaluation.select_responses=8"),
    *("evaluation.greedy_problems=0", "run_name=run"),
)
RUN = Path("results/runs/run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of four steps that kept every one, extrapolated by both methods."""
    folder = tmp_path_factory.mktemp("trained")
    for call in (
        (*TRAIN, "training.keep_every=1", "training.checkpoint_every=1"),
        ("extrapolate", str(RUN), "to_step=10", "first_step=2", "out=linear"),
        ("extrapolate", str(RUN), "to_step=10", "method=rank_one"),
    ):
        done = sfpo_bench(folder, *call)
        assert done.code == 0, done.err
    return folder


@pytest.mark.parametrize(
    ("method", "steps", "place"),
    [
        (Extrapolation.linear, [2, 4], Path("linear")),
        (Extrapolation.rank_one, [1, 2, 3, 4], RUN / "extrapolated-rank_one-000010"),
    ],
)
def test_the_model_has_the_weights_of_the_formula_and_says_what_it_is_made_of(
    method: Extrapolation, steps: list[int], place: Path, trained: Path
) -> None:
    model = dict(AutoModelForCausalLM.from_pretrained(trained / place).named_parameters())
    store = CheckpointStore(trained / RUN / "checkpoints")
    kept = [found.weights() for step in steps if (found := store.at(step)) is not None]
    assert len(kept) == len(steps)
    for name, weight in model.items():
        assert torch.equal(weight, extrapolated(method, steps, [each[name] for each in kept], 10))
    assert any(not torch.equal(model[name], weight) for name, weight in kept[-1].items())
    made = json.loads((trained / place / "extrapolation.json").read_text())
    assert made == {"run": str(RUN), "method": method.value, "from_steps": steps, "to_step": 10}


def test_too_few_checkpoints_and_steps_that_are_not_later_are_refused_with_the_way_out(trained: Path) -> None:
    refusals = {
        "training.keep_every": ("first_step=3", "method=rank_one", "out=new"),
        "to_step = 4": ("to_step=4",),
        "to_step = 0": ("to_step=0",),
        "exists already": ("out=linear",),
    }
    for said, more in refusals.items():
        asked = more if any("to_step" in one for one in more) else ("to_step=10", *more)
        refused = sfpo_bench(trained, "extrapolate", str(RUN), *asked)
        assert refused.code != 0 and said in refused.err, refused.err
    assert not (trained / "new").exists()


@pytest.mark.slow
def test_it_is_evaluated_like_any_model(trained: Path) -> None:
    done = sfpo_bench(
        trained,
        *("evaluate", "model=hf", "model.path=linear", "suite=embedded", "sampling.max_new_tokens=12", "first=4"),
    )
    assert done.code == 0, done.err
