"""Scores in the forms of others: what stands there is what the tables say, and nothing that is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import EvalResultEntry
from huggingface_hub._eval_results import parse_eval_result_entries

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.forms import EvaluatingOrganization, Form, Relationship
from sfpo_bench.evaluation.graded_benchmark import METRICS
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.sample_logs.record import LoggedSampling
from sfpo_bench.evaluation.scores import ScoredArm, arm_scores
from sfpo_bench.evaluation.shared_forms import check_forms, write_forms
from tests.evaluation.test_scores import evaluation

WHO = EvaluatingOrganization("Some University", Relationship.third_party)


def of_thirty() -> Evaluation:
    """AIME 2024 whole, 30 problems, and 40 of MATH-500."""
    found = evaluation("some/model", {"aime24": 0.3, "math500": 0.5}, draw=3)
    sheet = found.graded["aime24"]
    return replace(found, graded={**found.graded, "aime24": replace(sheet, problems=sheet.problems[:30])})


def test_a_record_of_every_eval_ever_has_every_score_and_its_interval(tmp_path: Path) -> None:
    """The fields that schema 0.3.0 requires, and values in one result."""
    found = of_thirty()
    [file] = write_forms([found], 4, [Form.every_eval_ever], WHO, tmp_path, 1_700_000_000).files
    record = json.loads(file.read_text())
    assert record.keys() >= {"schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info"}
    assert record["evaluation_id"] == "own/some/model/1700000000" and record["retrieved_timestamp"] == "1700000000"
    assert record["source_metadata"]["source_organization_name"] == "Some University"
    assert record["source_metadata"]["evaluator_relationship"] == "third_party"
    assert record["model_info"]["id"] == "some/model"
    details = record["model_info"]["additional_details"]
    assert {"deployment_type", "model_availability"} <= details.keys() and set(map(type, details.values())) == {str}
    results = {one["evaluation_result_id"]: one for one in record["evaluation_results"]}
    assert set(results) == {f"{name}/{metric}@4" for name in found.graded for metric in METRICS}
    for metric in METRICS:
        own = arm_scores(ScoredArm("a", (found,)), metric, 4)["math500"]
        shown = results[f"math500/{metric}@4"]["score_details"]
        assert shown["score"] == own.mean
        assert shown["uncertainty"]["confidence_interval"]["lower"] == own.interval.low
        assert shown["uncertainty"]["num_samples"] == 40
    one = results["math500/avg@4"]
    assert one["source_data"] | {"additional_details": {}} == {
        "dataset_name": "math500", "source_type": "hf_dataset", "hf_repo": "HuggingFaceH4/MATH-500", "hf_split": "test",
        "samples_number": 40, "additional_details": {},
    }  # fmt: skip
    assert one["generation_config"]["generation_args"] == {"temperature": 1.0, "top_p": 1.0, "max_tokens": 256}


def test_what_a_log_does_not_say_stands_in_no_record(tmp_path: Path) -> None:
    found = replace(of_thirty(), sampling=LoggedSampling(temperature=0.5), sources=(tmp_path / "a.eval",))
    [file] = write_forms([found], 4, [Form.every_eval_ever], WHO, tmp_path, 0).files
    record = json.loads(file.read_text())
    assert record["model_info"]["additional_details"]["deployment_type"] == "unknown"
    assert "inference_engine" not in record["model_info"]
    assert record["evaluation_results"][0]["generation_config"]["generation_args"] == {"temperature": 0.5}


def test_results_for_the_hub_are_of_whole_benchmarks_alone(tmp_path: Path) -> None:
    found = of_thirty()
    written = write_forms([found], 4, [Form.eval_results], WHO, tmp_path, 0)
    [file] = written.files
    assert file.relative_to(tmp_path).as_posix() == "eval_results/some-model-None/.eval_results/sfpo_bench.yaml"
    [entry] = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert isinstance(entry, EvalResultEntry) and entry.dataset_id == "HuggingFaceH4/aime_2024"
    score = arm_scores(ScoredArm("a", (found,)), "avg", 4)["aime24"]
    assert entry.value == pytest.approx(100 * score.mean, abs=1e-4) and "avg@4 in percent" in str(entry.notes)
    assert written.left_out == ("some/model None: math500: 40 of its 500 problems",)


def test_who_evaluated_is_asked_for_and_names_do_not_collide(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="organization=NAME"):
        check_forms([Form.every_eval_ever], EvaluatingOrganization("", Relationship.other))
    check_forms([Form.eval_results], EvaluatingOrganization("", Relationship.other))
    with pytest.raises(ConfigError, match="two evaluations would be written to"):
        write_forms([of_thirty(), of_thirty()], 4, [Form.every_eval_ever], WHO, tmp_path, 0)
