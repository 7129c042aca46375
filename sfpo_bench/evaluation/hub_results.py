"""Scores in the format that the Hugging Face hub shows on a model's page: `.eval_results/*.yaml` in its repository."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.scores import AVERAGE, Score, ScoredArm, arm_scores
from sfpo_bench.problems.sets import card, known_sets


@dataclass(frozen=True, slots=True)
class HubResults:
    """The file's content, "" if it has no score. `left_out` gives the reason for each benchmark without one."""

    content: str
    left_out: tuple[str, ...]


def hub_results(found: Evaluation, k: int) -> HubResults:
    """Return avg@k in percent for every benchmark that is a data set of the hub, if all its problems were evaluated."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    scores = arm_scores(ScoredArm(found.owner.arm, (found,)), "avg", k)
    entries, left_out = [], []
    for name, score in scores.items():
        if name == AVERAGE:
            continue
        known = card(name) if name in known_sets("benchmarks") else None
        if known is None or not known.hub.name:
            left_out.append(f"{name}: no data set of the hub is known for it")
        elif score.problems != known.rows:
            left_out.append(f"{name}: {score.problems} of its {known.rows} problems")
        else:
            entries.append(
                EvalResultEntry(
                    dataset_id=known.hub.name,
                    task_id=known.hub.config or "default",
                    value=round(100 * score.mean, 4),
                    notes=_notes(found, score, k),
                )
            )
    content = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False) if entries else ""
    return HubResults(content, tuple(left_out))


def _notes(found: Evaluation, score: Score, k: int) -> str:
    drawn = found.sampling
    told = [
        f"avg@{k} in percent",
        f"95 % interval over problems {100 * score.interval.low:.2f} to {100 * score.interval.high:.2f}",
        *([] if drawn.temperature is None else [f"temperature {drawn.temperature:g}"]),
        *([] if drawn.top_p is None else [f"top-p {drawn.top_p:g}"]),
        *([] if drawn.max_new_tokens is None else [f"at most {drawn.max_new_tokens} tokens"]),
        f"grades {found.grades.text}",
        *([found.choice_note] if found.choice_note else []),
    ]
    return "; ".join(told)
