"""The study design that evaluates its arms on a suite, with parts start, choose, evaluate and score."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.core.types import Problem, Split
from sfpo_bench.evaluation.prompted_problems import Benchmark
from sfpo_bench.evaluation.record import read_evaluation
from sfpo_bench.evaluation.run import plan
from sfpo_bench.experiments.study import checkpoints
from sfpo_bench.experiments.study.design import DoneSoFar, Part, Settings, StudyReport
from sfpo_bench.experiments.study.frame import BEFORE_TRAINING, Evaluated, score_rows
from sfpo_bench.experiments.study.ledger import COMPARE, TUNE, Done
from sfpo_bench.experiments.study.page import StudyFiles, write_study_report
from sfpo_bench.problems.sets import Role, overlaps, suite
from sfpo_bench.reports.papers.score import read_paper_scores
from sfpo_bench.results.sample_store import SampleStore
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.study import StudyEvaluation

if TYPE_CHECKING:
    from sfpo_bench.evaluation.record import Evaluation
    from sfpo_bench.experiments.study.plan import Study

START, CHOOSE, EVALUATE, SCORE = "start", "choose", "evaluate", "score"


@dataclass(frozen=True, slots=True)
class ScoredOnSuite:
    """Evaluates each run of the configured arms at three checkpoints on a report suite."""

    before: tuple[Part, ...] = (Part(START, (), lambda so_far: _start(so_far), again_with=EVALUATE),)
    after: tuple[Part, ...] = (
        Part(CHOOSE, (COMPARE,), lambda so_far: _choose(so_far)),
        Part(EVALUATE, (CHOOSE,), lambda so_far: _evaluate(so_far)),
        Part(SCORE, (START, TUNE, CHOOSE, EVALUATE), lambda so_far: _score(so_far)),
    )

    def check(self, config: RunConfig) -> None:
        """Raise `ConfigError` if the suite is not a report suite, or the runs would lack the required checkpoints."""
        if not config.study.evaluation.suite:
            raise ConfigError("study.evaluation.suite is empty; name the suite that the arms are evaluated on")
        found = suite(config.study.evaluation.suite, "study.evaluation.suite")
        if found.role is not Role.report:
            raise ConfigError(
                f"study.evaluation.suite = {found.name} is a suite for choosing; expected one for reporting: what is "
                "chosen on its problems must not be reported on them"
            )
        if not config.evaluation.select_responses:
            raise ConfigError(
                "evaluation.select_responses = 0: no checkpoint could be best on select problems; set it above 0"
            )
        if config.training.stop_at.accuracy:
            raise ConfigError(
                f"training.stop_at.accuracy = {config.training.stop_at.accuracy:g}: this study compares checkpoints of "
                "equal budget, which runs that end at their target do not have; set it to 0, or compare costs to a "
                "target with sfpo-bench compare"
            )
        if not config.training.keep_every:
            raise ConfigError(
                "training.keep_every = 0: checkpoints of equal budget would not be kept; set the steps between those "
                "that are, such as a quarter of training.steps"
            )

    def arms(self, config: RunConfig, config_name: str, overrides: Sequence[str]) -> Mapping[str, ArmSettings]:
        """Return the arms of the configuration."""
        return config.comparison.arms

    def compared(self, config: RunConfig, tuned: Mapping[str, ArmSettings]) -> Mapping[str, ArmSettings]:
        """Return every arm with its tuned settings."""
        return tuned

    def settings(self, study: Study) -> Mapping[str, Settings]:
        """Return the settings that the result of each part depends on."""
        config, evaluation = study.config, _evaluation_identity(study.evaluation)
        return {
            START: evaluation,
            CHOOSE: {
                "study.budget_axis": config.study.budget_axis.value,
                "training.keep_every": config.training.keep_every,
            },
            EVALUATE: evaluation,
            SCORE: {
                "comparison.baseline": config.comparison.baseline,
                "study.model": config.study.model,
                **{f"{arm.key}.label": arm.label for arm in study.arms},
            },
        }

    def check_inputs(self, study: Study) -> None:
        """Raise for missing benchmarks, and for benchmarks that share problems with the select problems."""
        with settings_named_as_in_a_study():
            benchmarks = plan(study.evaluation).benchmarks
        refuse_shared(benchmarks, study.config.policy_task.problems(Split.select))

    def report(self, study: Study) -> StudyReport:
        """Return the scores with report and tables."""
        files = StudyFiles.inside(study.folder)
        scores = read_paper_scores(files.scores)
        numbers = {
            f"{one.benchmark}/{one.checkpoint.value}/{one.arm}/avg_at_{one.samples}": one.avg_at_k for one in scores
        }
        named = {"scores": files.scores, "figure": files.figure_png, "page": files.page}
        return StudyReport(files.report, named, files.tracked(), numbers)


@contextmanager
def settings_named_as_in_a_study() -> Iterator[None]:
    """Rename settings in the errors of evaluation settings to their names in a study."""
    shared = {field.name for field in fields(StudyEvaluation)} & {field.name for field in fields(EvaluateSettings)}
    named = re.compile(rf"(?<![\w.`])({'|'.join(sorted(shared))})(?=(?:\.\w+)? ?=)")
    try:
        yield
    except BenchError as error:
        error.args = (named.sub(r"study.evaluation.\1", str(error)),)
        raise


def refuse_shared(benchmarks: Sequence[Benchmark], select: Sequence[Problem]) -> None:
    """Raise `ConfigError` if a reported problem is among those that checkpoints are chosen on."""
    asked = [prompted.problem for benchmark in benchmarks for prompted in benchmark.prompted]
    shared = overlaps(asked, select)
    if shared:
        raise ConfigError(
            f"{len({one.evaluation_id for one in shared})} problems of the suite are among the select problems (the "
            f"first: {shared[0].evaluation_id}), by which settings and checkpoints are chosen; evaluate on another "
            "suite, or choose on others"
        )


# --- parts ----------------------------------------------------------------------------------------------------------


def _start(so_far: DoneSoFar) -> Done:
    """Evaluate the model before training; done first, so that evaluation errors appear before hours of training."""
    [found] = so_far.evaluated([replace(so_far.study.evaluation, label=BEFORE_TRAINING)])
    return Done({"evaluation": _place(so_far.study, found)}, [SampleStore(found.folder).graded_file])


def _choose(so_far: DoneSoFar) -> Done:
    """Choose the checkpoints to evaluate."""
    config = so_far.study.config
    chosen = checkpoints.choose(so_far.runs, config.study.budget_axis, config.training.keep_every)
    return Done(checkpoints.to_plain(chosen))


def _evaluate(so_far: DoneSoFar) -> Done:
    """Evaluate every chosen checkpoint on the suite, once even if it was chosen twice."""
    study = so_far.study
    folders = {(run.arm, run.seed): run.folder for run in so_far.runs}
    chosen_of = checkpoints.from_plain(so_far.record(CHOOSE).result).chosen
    wanted = sorted(dict.fromkeys((one.arm, one.seed, one.step) for one in chosen_of), key=lambda one: one[1:])
    found = so_far.evaluated([study.evaluation_of(folders[arm, seed], step) for arm, seed, step in wanted])
    places = {_key(*own): _place(study, one) for own, one in zip(wanted, found, strict=True)}
    return Done({"evaluations": places}, [SampleStore(one.folder).graded_file for one in found])


def _score(so_far: DoneSoFar) -> Done:
    """Compute intervals and differences; write tables, figures and the page."""
    study, choice = so_far.study, checkpoints.from_plain(so_far.record(CHOOSE).result)
    places = so_far.record(EVALUATE).result["evaluations"]
    assert isinstance(places, dict)
    read = {key: read_evaluation(study.folder / place) for key, place in places.items()}
    found = [Evaluated(one, read[_key(one.arm, one.seed, one.step)]) for one in choice.chosen]
    before = read_evaluation(study.folder / str(so_far.record(START).result["evaluation"]))
    labels = {arm.key: arm.label for arm in study.arms}
    rows = score_rows(before, found, choice, labels, study.config.comparison.baseline, study.config.study.model)
    files = write_study_report(study, rows, choice, so_far.tuned(), so_far.versions())
    return Done({"rows": len(rows)}, files.all())


def _key(arm: str, seed: int, step: int) -> str:
    return f"{arm}/{seed}/{step}"


def _place(study: Study, found: Evaluation) -> str:
    return found.folder.resolve().relative_to(study.folder.resolve()).as_posix()


def _evaluation_identity(asked: EvaluateSettings) -> Settings:
    found = suite(asked.suite)
    entries = {f"suite.{one.name}": [one.problems, *one.leave_out] for one in found.benchmarks}
    return {
        "suite": asked.suite,
        **entries,
        **{f"sampling.{key}": value for key, value in asdict(asked.sampling).items()},
        "problems": asked.problems,
        "prompt": asked.prompt,
        "unverified": asked.data.unverified,
        "precision": asked.precision.value,
        "engine": str(asked.engine.kind),
        **{f"model.{key}": _value(value) for key, value in asdict(asked.model).items()},
    }


def _value(value: object) -> object:
    return value.value if isinstance(value, Enum) else value
