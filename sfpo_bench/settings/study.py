"""Settings of a study. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.options import option
from sfpo_bench.grading import DEADLINE_S
from sfpo_bench.problems.sets import DataSettings
from sfpo_bench.settings.sampling import SampleSettings


class DesignName(StrEnum):
    """The designs of studies by their names."""

    suite = "suite"


class Redo(StrEnum):
    """The part from which on everything is done again although its settings have changed; none: a change is refused."""

    none = "none"
    compare = "compare"
    choose = "choose"
    evaluate = "evaluate"
    score = "score"
    table = "table"


@dataclass
class StudyEvaluation:
    """How every arm is evaluated; engine, precision and device are those of the training."""

    suite: str = option("", "a suite for reporting, or one benchmark")
    problems: int = option(0, "problems of each benchmark, at most; 0: as many as the suite says", low=0)
    prompt: str = option("", "name of a prompt template for every benchmark; empty: that of each one's card")
    sampling: SampleSettings = option(SampleSettings(), "how many samples, and how they are drawn")
    grading_seconds: float = option(DEADLINE_S, "longest time for one grade, in seconds", above=0)
    undecided_share: float = option(
        0.01, "share of samples that the grader may leave undecided; they count as wrong", low=0, high=1
    )
    max_prompt_tokens: int = option(0, "token limit of a prompt; 0: that of the rollouts", low=0)
    batch_responses: int = option(0, "responses decoded side by side; 0: those of the rollouts", low=0)
    threads: int = option(0, "torch threads; 0: torch's own choice", low=0)


@dataclass
class StudySettings:
    """What a study adds to a comparison: how its arms are evaluated. Read by `study`, ignored by the other verbs."""

    design: DesignName = option(DesignName.suite, "what is studied: suite, arms as configured and scored on a suite")
    evaluation: StudyEvaluation = option(StudyEvaluation(), "how every arm is evaluated")
    data: DataSettings = option(DataSettings(), "where benchmarks come from; `data.dir=FOLDER` for short")
    budget_axis: CostAxis = option(
        CostAxis.optimizer_steps, "what arms have equal amounts of at the equal-budget checkpoint"
    )
    model: str = option("", "name of the model in tables; empty: that of its folder or on the hub")
    redo: Redo = option(
        Redo.none,
        "none, or the part to do again, with all after it: compare (more seeds), choose, evaluate, score or table",
    )
