"""An evaluation as a record of Every Eval Ever, schema 0.3.0 (https://github.com/evaleval/every_eval_ever).

The user states who evaluated and how they are related to the model's makers. Whether weights are open is `unknown`.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path

from sfpo_bench import __version__
from sfpo_bench.evaluation.forms import EvaluatingOrganization
from sfpo_bench.evaluation.graded_benchmark import METRICS
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.scores import AVERAGE, Score, ScoredArm, arm_scores
from sfpo_bench.problems.sets import card, known_sets
from sfpo_bench.statistics import CONFIDENCE

SCHEMA = "0.3.0"


def every_eval_ever(found: Evaluation, k: int, evaluator: EvaluatingOrganization, written: int) -> str:
    """Return the record as JSON, with every score that is defined at k. `written` is its Unix time in seconds."""
    record: dict[str, object] = {
        "schema_version": SCHEMA,
        "evaluation_id": _evaluation_id(found, written),
        "retrieved_timestamp": str(written),
        "source_metadata": {
            "source_name": "sfpo_bench",
            "source_type": "evaluation_run",
            "source_organization_name": evaluator.organization,
            "evaluator_relationship": evaluator.relationship.value,
        },
        "eval_library": _library(found),
        "model_info": _model(found),
        "evaluation_results": [
            _result(found, name, metric, k, score)
            for metric in METRICS
            for name, score in arm_scores(ScoredArm(found.owner.arm, (found,)), metric, k).items()
            if name != AVERAGE
        ],
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def record_path(found: Evaluation, written: int) -> Path:
    """Return the record's path in the collection: benchmark, developer, model, and a name derived from its identity."""
    developer, _, model = found.owner.model.source.rpartition("/")
    identity = f"{_evaluation_id(found, written)}/{found.owner.label}"
    # The collection accepts only names in the format of random UUIDs. A hash gives the same record the same name.
    name = uuid.UUID(bytes=hashlib.sha256(identity.encode()).digest()[:16], version=4)
    folders = (_plain(one) for one in (_suite(found), developer or "unknown", model))
    return Path("data", *folders, f"{name}.json")


def _suite(found: Evaluation) -> str:
    return found.asked.suite or "+".join(found.graded)


def _evaluation_id(found: Evaluation, written: int) -> str:
    return f"{_suite(found)}/{found.owner.model.source}/{written}"


def _plain(text: str) -> str:
    """Return a text as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip(".-") or "unknown"


def _library(found: Evaluation) -> dict[str, object]:
    own: dict[str, object] = {"name": "sfpo_bench", "version": __version__}
    if not found.sources:
        return own
    scored = f"{own['name']} {own['version']}, grades: {found.grades.text}"
    return {"name": found.grades.form, "version": "unknown", "additional_details": {"scored_by": scored}}


def _model(found: Evaluation) -> dict[str, object]:
    model, engine = found.owner.model, found.sampling.engine
    details = {
        "deployment_type": "unknown" if found.sources or found.server else "self_deployed",
        "model_availability": "unknown",
        **({"server": found.server.text} if found.server else {"sha256": model.sha256}),
        "revision": model.revision,
        "training_run": found.owner.run,
        "training_step": "" if found.owner.step is None else str(found.owner.step),
        "chosen": found.choice_note,
    }
    return {
        "name": found.owner.label,
        "id": model.source,
        **({"inference_engine": {"name": engine}} if engine else {}),
        "additional_details": {name: value for name, value in details.items() if value},
    }


def _result(found: Evaluation, benchmark: str, metric: str, k: int, score: Score) -> dict[str, object]:
    title = METRICS[metric].at(k)
    return {
        "evaluation_result_id": f"{benchmark}/{metric}@{k}",
        "evaluation_name": benchmark,
        "source_data": _source(found, benchmark),
        "metric_config": {
            "evaluation_description": f"{title} on {benchmark}",
            "metric_id": metric,
            "metric_name": title,
            "metric_kind": "accuracy" if metric == "avg" else "pass_rate",
            "metric_unit": "proportion",
            "metric_parameters": {"k": k},
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {
            "score": score.mean,
            "details": {"problems": str(score.problems), "samples_a_problem": str(found.asked.samples)},
            "uncertainty": {
                "confidence_interval": {
                    "lower": score.interval.low,
                    "upper": score.interval.high,
                    "confidence_level": CONFIDENCE,
                    "method": "over problems",
                },
                "num_samples": score.problems,
            },
        },
        "generation_config": _generation(found, benchmark),
    }


def _generation(found: Evaluation, benchmark: str) -> dict[str, object]:
    drawn = found.sampling
    told = {"temperature": drawn.temperature, "top_p": drawn.top_p, "max_tokens": drawn.max_new_tokens}
    more = {"precision": drawn.precision or "", "prompt": found.asked.templates.get(benchmark, "")}
    return {
        "generation_args": {name: value for name, value in told.items() if value is not None},
        "additional_details": {name: value for name, value in more.items() if value},
    }


def _source(found: Evaluation, benchmark: str) -> Mapping[str, object]:
    count = len(found.graded[benchmark].problems)
    hub = card(benchmark).hub if benchmark in known_sets("benchmarks") else None
    if hub is None or not hub.name:
        return {"dataset_name": benchmark, "source_type": "other", "additional_details": {"problems": str(count)}}
    return {
        "dataset_name": benchmark,
        "source_type": "hf_dataset",
        "hf_repo": hub.name,
        "hf_split": hub.split,
        "samples_number": count,
        "additional_details": {"config": hub.config or "default", "revision": hub.revision},
    }
