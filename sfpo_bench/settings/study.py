"""Settings of a study, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.options import option
from sfpo_bench.grading import DEADLINE_S
from sfpo_bench.problems.data_settings import DataSettings
from sfpo_bench.settings.reposition import RepositionSettings
from sfpo_bench.settings.sampling import SampleSettings


class DesignName(StrEnum):
    """The designs of studies by their names."""

    suite = "suite"
    league = "league"
    reposition = "reposition"


class Redo(StrEnum):
    """The part from which a study is redone when settings have changed; with none a change is an error."""

    none = "none"
    compare = "compare"
    choose = "choose"
    evaluate = "evaluate"
    score = "score"
    table = "table"


@dataclass
class StudyEvaluation:
    """The evaluation of every arm, with the training's engine, precision and device."""

    suite: str = option("", "a report suite, or one benchmark")
    problems: int = option(0, "largest number of problems per benchmark; 0: as in the suite", low=0)
    prompt: str = option("", "prompt template for every benchmark; empty: that of each card")
    sampling: SampleSettings = option(SampleSettings(), "number of samples and sampling parameters")
    grading_seconds: float = option(DEADLINE_S, "longest time for one grade, in seconds", above=0)
    undecided_share: float = option(
        0.01, "share of samples that the grader may leave undecided; they count as wrong", low=0, high=1
    )
    max_prompt_tokens: int = option(0, "token limit of a prompt; 0: that of the rollouts", low=0)
    batch_responses: int = option(0, "responses decoded in parallel; 0: that of the rollouts", low=0)
    threads: int = option(0, "torch threads; 0: torch's default", low=0)


@dataclass
class LeagueSettings:
    """The methods that a league compares."""

    methods: list[str] = option(
        [], "presets, or PRESET+RULE for an objective under another preset's rule; [all]: the whole grid"
    )
    under: list[str] = option(
        ["sfpo", "repeat"], "presets under whose update rules [all] puts every objective, their triggers off"
    )


@dataclass
class StudySettings:
    """The settings that a study adds to a comparison; read by `study`, ignored by other verbs."""

    design: DesignName = option(
        DesignName.suite,
        "suite: arms as configured, scored on a suite; league: presets against each other in one table; reposition: "
        "SFPO against Repeat(K + 1)",
    )
    league: LeagueSettings = option(LeagueSettings(), "methods that a league compares")
    reposition: RepositionSettings = option(RepositionSettings(), "conditions and cells of design=reposition")
    evaluation: StudyEvaluation = option(StudyEvaluation(), "evaluation of every arm")
    data: DataSettings = option(DataSettings(), "source of benchmarks; `data.dir=FOLDER` for short")
    budget_axis: CostAxis = option(
        CostAxis.optimizer_steps, "cost axis on which arms are equal at the equal-budget checkpoint"
    )
    model: str = option("", "name of the model in tables; empty: its folder or hub name")
    redo: Redo = option(
        Redo.none,
        "none, or the part to redo with all later ones: compare (more seeds), choose, evaluate, score or table",
    )
