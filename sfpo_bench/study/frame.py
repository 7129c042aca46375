"""From evaluations to the rows of `scores.csv`: every arm at every checkpoint on every benchmark, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.scores import AVERAGE, Arm, Difference, Score, arm_scores, differences
from sfpo_bench.reports.paper_score import PaperCheckpoint, PaperScore
from sfpo_bench.study.checkpoints import Choice, ChosenCheckpoint

# The name of the model as it is before any training, beside the arms.
BEFORE_TRAINING = "before training"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One chosen checkpoint and its evaluation."""

    chosen: ChosenCheckpoint
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class _Side:
    """An arm at one checkpoint, and what its seeds spent to get there."""

    arm: Arm
    steps: float
    budget: float


def score_rows(
    start: Evaluation,
    evaluated: Sequence[Evaluated],
    choice: Choice,
    labels: Mapping[str, str],
    baseline: str,
    model: str,
) -> list[PaperScore]:
    """The rows: the model before training, then by checkpoint and arm, each benchmark and last their average.

    `labels` maps arms to their names in tables, in the order of the rows; `baseline` is an arm. Differences are to the
    baseline at the same checkpoint, on the same problems, with Holm's adjustment over the benchmarks.
    """
    name = model or start.owner.model.source
    rows = _start_rows(start, name)
    for checkpoint in PaperCheckpoint:
        sides = _sides([one for one in evaluated if one.chosen.checkpoint is checkpoint], labels)
        for arm, side in sides.items():
            found = (
                differences(side.arm, sides[baseline].arm, "avg", _samples(side.arm))
                if arm != baseline and baseline in sides
                else {}
            )
            own = _rows(side.arm, checkpoint, found)
            rows += [
                replace(
                    row, model=name, arm=labels[arm], seeds=len(side.arm.evaluations), steps=side.steps,
                    budget=side.budget, axis=choice.axis.value, baseline=labels[baseline] if found else "",
                )
                for row in own
            ]  # fmt: skip
    return rows


def _sides(evaluated: Sequence[Evaluated], labels: Mapping[str, str]) -> dict[str, _Side]:
    grouped = {arm: [one for one in evaluated if one.chosen.arm == arm] for arm in labels}
    return {
        arm: _Side(
            Arm(arm, tuple(one.evaluation for one in sorted(members, key=lambda one: one.chosen.seed))),
            fmean(one.chosen.step for one in members),
            fmean(one.chosen.budget for one in members),
        )
        for arm, members in grouped.items()
        if members
    }


def _start_rows(start: Evaluation, model: str) -> list[PaperScore]:
    rows = _rows(Arm(BEFORE_TRAINING, (start,)), PaperCheckpoint.start, {})
    return [replace(row, model=model, arm=BEFORE_TRAINING, steps=0.0, budget=0.0) for row in rows]


def _samples(arm: Arm) -> int:
    return min(one.asked.samples for one in arm.evaluations)


def _rows(arm: Arm, checkpoint: PaperCheckpoint, found: Mapping[str, Difference]) -> list[PaperScore]:
    scores = arm_scores(arm, "avg", _samples(arm))
    return [_row(arm, checkpoint, name, score, found.get(name)) for name, score in scores.items()]


def _row(arm: Arm, checkpoint: PaperCheckpoint, benchmark: str, score: Score, one: Difference | None) -> PaperScore:
    names = arm.benchmarks if benchmark == AVERAGE else [benchmark]
    sheets = [sheet for name in names for sheet in arm.sheets(name)]
    first = arm.evaluations[0]
    return PaperScore(
        model="",
        arm=arm.name,
        checkpoint=checkpoint,
        benchmark=benchmark,
        avg_at_k=score.mean,
        low=score.interval.low,
        high=score.interval.high,
        problems=score.problems,
        samples=_samples(arm),
        difference=one.mean if one else None,
        difference_low=one.interval.low if one else None,
        difference_high=one.interval.high if one else None,
        p_value=one.p_value if one else None,
        p_holm=one.adjusted_p if one else None,
        smallest_detectable=one.detectable if one else None,
        truncated_share=fmean(sheet.share("truncated") for sheet in sheets),
        no_answer_share=fmean(1 - sheet.share("answered") for sheet in sheets),
        temperature=first.sampling.temperature,
        top_p=first.sampling.top_p,
        max_tokens=first.sampling.max_new_tokens,
        prompt=", ".join(dict.fromkeys(first.asked.templates[name].split(" ")[0] for name in names)),
    )
