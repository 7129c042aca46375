"""Scores of an arm as rows of a paper's table, for `read_paper_scores`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from sfpo_bench.evaluation.scores import AVERAGE, Difference, Score, ScoredArm, arm_scores
from sfpo_bench.reports.papers.score import PaperCheckpoint, PaperScore


def samples_of(arm: ScoredArm) -> int:
    """Return the number of samples per problem that every evaluation of the arm has."""
    return min(one.asked.samples for one in arm.evaluations)


def paper_rows(arm: ScoredArm, checkpoint: PaperCheckpoint, found: Mapping[str, Difference]) -> list[PaperScore]:
    """Return one row per benchmark, then the average; `found` has differences to a baseline. `model` is left empty."""
    scores = arm_scores(arm, "avg", samples_of(arm))
    return [_row(arm, checkpoint, name, score, found.get(name)) for name, score in scores.items()]


def _row(
    arm: ScoredArm, checkpoint: PaperCheckpoint, benchmark: str, score: Score, one: Difference | None
) -> PaperScore:
    names = arm.benchmarks if benchmark == AVERAGE else [benchmark]
    benchmarks_of_runs = [graded for name in names for graded in arm.graded(name)]
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
        samples=samples_of(arm),
        difference=one.mean if one else None,
        difference_low=one.interval.low if one else None,
        difference_high=one.interval.high if one else None,
        p_value=one.p_value if one else None,
        p_holm=one.adjusted_p if one else None,
        smallest_detectable=one.detectable if one else None,
        truncated_share=_known(fmean(graded.share("truncated") for graded in benchmarks_of_runs)),
        no_answer_share=_known(fmean(1 - graded.share("answered") for graded in benchmarks_of_runs)),
        temperature=first.sampling.temperature,
        top_p=first.sampling.top_p,
        max_tokens=first.sampling.max_new_tokens,
        prompt=", ".join(dict.fromkeys(first.asked.templates.get(name, "").split(" ")[0] for name in names)),
    )


def _known(share: float) -> float | None:
    return None if math.isnan(share) else share
