"""Logs that the programs themselves wrote: what is read from them is the number in their own files of results.

lighteval 0.13 pins another runtime of antlr than Hydra 1.3 needs, so that both cannot be in one environment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.evaluation.sample_logs.arms import LogOptions, ScoredLogs, score_logs
from sfpo_bench.evaluation.sample_logs.record import GradesBy

ENVIRONMENT = "lives in an environment of its own: make test-harnesses"
PROBLEMS = (("What is 2 + 2?", "4"), ("What is 2 + 3?", "5"), ("What is 1 / 2?", r"\frac{1}{2}"))
RESPONSES = (("It is 4", "It is 5"), ("It is 5", "It is 7"), ("It is 0.5", r"It is \frac{1}{2}"))

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def mean(found: ScoredLogs, k: int) -> float:
    [sheet] = found.evaluations[0].graded.values()
    values = sheet.scores("avg", k)
    assert values is not None
    return float(values.mean())


def test_inspect(tmp_path: Path) -> None:
    """Two epochs, two scorers, members packed by zstandard."""
    inspect_ai = pytest.importorskip("inspect_ai", reason=f"inspect {ENVIRONMENT}")
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import includes, match
    from inspect_ai.solver import generate

    def answer(text: str) -> Any:
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=3, output_tokens=len(text), total_tokens=3 + len(text))
        return output

    given = [answer(row[epoch]) for epoch in (0, 1) for row in RESPONSES]
    dataset = MemoryDataset([Sample(input=text, target=gold, id=text) for text, gold in PROBLEMS])
    task = inspect_ai.Task(name="arith", dataset=dataset, solver=[generate()], scorer=[match(), includes()], epochs=2)
    model = get_model("mockllm/model", custom_outputs=given)
    [log] = inspect_ai.eval(
        task, model=model, log_dir=str(tmp_path), display="none", temperature=0.7, max_tokens=9, max_samples=1
    )
    theirs = {score.name: score.metrics["accuracy"].value for score in log.results.scores}
    for name, value in theirs.items():
        found = score_logs({"a": [str(tmp_path)]}, LogOptions(grade=(name,)))
        assert mean(found, 2) == pytest.approx(value, abs=1e-9)
    [evaluation] = found.evaluations
    assert (evaluation.sampling.temperature, evaluation.sampling.max_new_tokens) == (0.7, 9)
    assert evaluation.owner.model.source == "mockllm/model" and not evaluation.notes
    ours = score_logs({"a": [str(tmp_path)]}, LogOptions(GradesBy.ours))
    assert mean(ours, 2) == pytest.approx(4 / 6)  # 0.5 is 1/2


def test_lm_evaluation_harness(tmp_path: Path) -> None:
    """Two repeats, graded by two filters on the first one."""
    pytest.importorskip("lm_eval", reason=f"lm-evaluation-harness {ENVIRONMENT}")
    from lm_eval import evaluator
    from lm_eval.api.model import LM
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    class Told(LM):  # type: ignore[misc]  # a class without types
        def generate_until(self, requests: list[Any]) -> list[str]:
            return [response for row in RESPONSES for response in row]

        def loglikelihood(self, requests: list[Any]) -> list[Any]:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: list[Any]) -> list[Any]:
            raise NotImplementedError

    data = tmp_path / "arith.jsonl"
    data.write_text("".join(json.dumps({"question": text, "answer": gold}) + "\n" for text, gold in PROBLEMS))
    filters = [
        {"name": name, "filter": [{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}]}
        for name, pattern in (("words", "is (.+)"), ("digits", "([0-9]+)$"))
    ]
    task = {
        "task": "arith",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(tmp_path / "cache")},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "Q: {{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "temperature": 0.7},
        "repeats": 2,
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": filters,
    }
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "arith.yaml").write_text(json.dumps(task))
    results = evaluator.simple_evaluate(
        Told(), model_args="pretrained=some/model", tasks=["arith"], task_manager=TaskManager(include_path=str(tasks)),
        log_samples=True, bootstrap_iters=0,
    )  # fmt: skip
    samples = results.pop("samples")
    tracker = EvaluationTracker(output_path=str(tmp_path / "out"))
    tracker.save_results_aggregated(results, samples)
    tracker.save_results_samples("arith", samples["arith"])
    [file] = (tmp_path / "out").rglob("results_*.json")
    theirs = json.loads(file.read_text())["results"]["arith"]
    for name in ("exact_match,words", "exact_match,digits"):
        found = score_logs({"a": [str(tmp_path / "out")]}, LogOptions(grade=(name,)))
        assert mean(found, 1) == pytest.approx(theirs[name], abs=1e-9)
    assert list(found.evaluations[0].graded) == ["arith"] and found.evaluations[0].sampling.temperature == 0.7
    assert mean(score_logs({"a": [str(tmp_path / "out")]}, LogOptions(GradesBy.ours)), 2) == pytest.approx(4 / 6)
