"""The card of an exported checkpoint: what stands there is what the run says, and what is the author's stands open."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from hydra import compose

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.types import EvaluationRecord, FinishReason, GradeStatus, Split
from sfpo_bench.evaluation.model_card import LEFT_TO_THE_AUTHOR, base_of, model_card
from sfpo_bench.evaluation.record import read_evaluation
from sfpo_bench.evaluation.scores import ScoredArm, arm_scores
from sfpo_bench.problems.sets import card
from sfpo_bench.results.evaluation import Asked, EvaluationFolder, ModelPin, Owner, write_asked
from sfpo_bench.results.journal import JournalWriter
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.sample_store import GradedSample, Sample, SamplingIdentity
from sfpo_bench.settings.config import from_node
from sfpo_bench.settings.models import EmbeddedModel, HuggingFaceModel, SmolLM2Model
from sfpo_bench.settings.training import Which
from sfpo_bench.training.checkpoint import TrainingState

OVERRIDES = ("task=dapo_math", "algorithm=sfpo", "model=hf", "model.path=Qwen/Qwen2.5-Math-1.5B", "training.steps=60")
STATE = TrainingState(
    step=40, costs=Costs(100, 800, 12345, 40, 61.0, 70.0), rule={}, journal_bytes=0, samples_bytes=0, best_step=40,
    best_accuracy=0.625,
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("hydra")


def card_of(run: RunFolder, which: Which = Which.last) -> str:
    return model_card(run, from_node(compose("train", list(OVERRIDES))), STATE, which)


def evaluated(run: RunFolder) -> None:
    """Four samples of three problems at the checkpoint's step, one, two and four of them right."""
    there = EvaluationFolder.of_run(run, STATE.step)
    there.write_owner(Owner("sfpo", "sfpo", 0, STATE.step, "", ModelPin("m", "", "x")))
    sampling = SamplingIdentity("x", "transformers", "float32", 1.0, 0.7, 256, 0)
    store = there.store(sampling)
    graded = [
        GradedSample(
            Sample("math500", f"math500/{p}", f"k{p}", "", s, s, "7", 3, FinishReason.stopped), "7", "7", "",
            GradeStatus.correct if s < right else GradeStatus.wrong, 0 if s < right else 1, "",
        )
        for p, right in enumerate((1, 2, 4))
        for s in range(4)
    ]  # fmt: skip
    store.write_graded(graded)
    write_asked(store, sampling, Asked("paper", "report", 4, {"math500": "boxed 1"}, {"math500": 500}))


def test_a_card_says_what_the_run_says(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    evaluated(run)
    with JournalWriter(run.journal) as journal:
        for step in (20, 40):
            journal.append(
                [EvaluationRecord(step, 0.0, STATE.costs, Split.select, "greedy", 0.0, step / 64, 64, 64, {}, 0, 1.0)]
            )
    text = card_of(run)
    assert "| generated tokens | 12,345 |" in text and "from step 40 of 60" in text
    assert "| update\\_rule | slow\\_fast | arXiv:2510.04072 |" in text
    [store] = [path.parent for path in EvaluationFolder.of_run(run, 40).path.glob("*/samples.parquet")]
    score = arm_scores(ScoredArm("a", (read_evaluation(store),)), "avg", 4)["math500"]
    assert score.mean == pytest.approx(7 / 12)
    assert f"| math500 | 3 | 58.3 ({100 * score.interval.low:.1f} to {100 * score.interval.high:.1f}) |" in text
    assert "| select | greedy | 62.5 (50.3 to 73.3) | 64 | 64 |" in text and "31.2" not in text
    assert "The last one, regardless of scores." in text


def test_metadata_is_what_the_hub_reads_and_the_licence_is_the_authors(tmp_path: Path) -> None:
    text = card_of(RunFolder(tmp_path))
    assert "base_model: Qwen/Qwen2.5-Math-1.5B\n" in str(ModelCard(text).data)
    data = yaml.safe_load(text.split("---")[1])
    assert data["base_model"] == "Qwen/Qwen2.5-Math-1.5B" and data["library_name"] == "transformers"
    assert data["datasets"] == [card("dapo17k").hub.name]
    assert not set(LEFT_TO_THE_AUTHOR) & data.keys()
    for name in LEFT_TO_THE_AUTHOR:
        assert f"# {name}:  # yours to fill in\n" in text.split("---")[1]
    assert "was not evaluated" in text


def test_the_best_checkpoint_says_that_its_score_is_the_best_of_several(tmp_path: Path) -> None:
    text = card_of(RunFolder(tmp_path), Which.best)
    assert "accuracy 0.625 at step 40" in text and "biased upwards" in text


def test_a_local_base_model_is_named_without_its_place(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    base = base_of(HuggingFaceModel(path=str(tmp_path / "my-model")))
    assert base.name == "my-model" and not base.on_hub
    assert base_of(HuggingFaceModel(path="org/name", revision="abc")).revision == "abc"
    assert base_of(SmolLM2Model()).on_hub and not base_of(EmbeddedModel()).on_hub
