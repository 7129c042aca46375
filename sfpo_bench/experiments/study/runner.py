"""The study itself: part after part, each one skipped when its result is there and still holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from sfpo_bench.core.errors import BenchError, Interrupted
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation import run as evaluations
from sfpo_bench.evaluation.in_slots import evaluate_in_slots
from sfpo_bench.evaluation.publish import delivery_of, publish
from sfpo_bench.evaluation.record import Evaluation, read_evaluation
from sfpo_bench.evaluation.sample_board import SampleBoard
from sfpo_bench.experiments.comparison.arms import Arm, PlannedRun, compose_arms, planned_runs
from sfpo_bench.experiments.comparison.runner import PreparedComparison, run_comparison
from sfpo_bench.experiments.study import checkpoints
from sfpo_bench.experiments.study.frame import BEFORE_TRAINING, Evaluated, score_rows
from sfpo_bench.experiments.study.ledger import CODE_VERSION, Done, Ledger
from sfpo_bench.experiments.study.page import StudyFiles, write_study_report
from sfpo_bench.experiments.study.plan import (
    CHOOSE,
    COMPARE,
    EVALUATE,
    PARTS,
    SCORE,
    START,
    TUNE,
    Study,
    settings_named_as_in_a_study,
)
from sfpo_bench.experiments.study.tracked import close_run, open_run
from sfpo_bench.experiments.sweep.plan import PreparedSweep
from sfpo_bench.experiments.sweep.tune import Tuned, tune_arms, tuning_files, write_tuning
from sfpo_bench.reports.papers.score import read_paper_scores
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.sample_store import SampleStore
from sfpo_bench.results.study import PartRecord, StudyFolder
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.tracking.store_warnings import StoreWarnings
from sfpo_bench.workers.build import slot_count

Say = Callable[[str], None]

# The comparison of a study has no other folder to go to.
_REMEDY = "Undo the change to continue it, or give this study another name (name=...)"


def run_study(study: Study, say: Say) -> StudyFiles:
    """Do every part that is not done, and write the report.

    Raises `ComparisonChanged` before anything is done when a part was done with other settings, `Interrupted` when
    asked to stop (everything is kept), and what the parts raise.
    """
    folder = RunFolder(study.folder)
    ledger = Ledger(study.folder, PARTS, say, any_code=bool(study.redo))
    ledger.check(study.settings(), study.redo)
    with folder.locked():
        StudyFolder(study.folder).write_plan(study.describe())
        parts = StudyParts(study, ledger, say)
        try:
            return parts.run()
        except (Interrupted, KeyboardInterrupt):
            folder.write_status(RunStatus(RunState.interrupted, parts.done, len(PARTS)))
            raise
        except BenchError as error:
            folder.write_status(RunStatus(RunState.failed, parts.done, len(PARTS), str(error)))
            raise


class StudyParts:
    """The parts of one study in their order; `done` counts those that are over."""

    def __init__(self, study: Study, ledger: Ledger, say: Say) -> None:
        self._study = study
        self._ledger = ledger
        self._say = say
        self._settings = study.settings()
        self._folder = RunFolder(study.folder)
        self._slots = slot_count(study.config.launching, study.config.comparison.slots)
        self._delivery = delivery_of(study.config.tracking, study.folder)
        self._warnings = StoreWarnings(say)
        self.done = 0

    def run(self) -> StudyFiles:
        """Do every part; returns the paths of the report."""
        self._folder.write_status(RunStatus(RunState.running, 0, len(PARTS)))
        open_run(self._folder, self._delivery, self._warnings)
        start = self._once(START, [], self._start)
        tuned = self._once(TUNE, [], self._tune)
        arms = self._tuned_arms(tuned)
        runs = planned_runs(arms, self._study.seeds, StudyFolder(self._study.folder).comparison)
        compared = self._once(COMPARE, [tuned], lambda: self._compare(arms, runs))
        chosen = self._once(CHOOSE, [compared], lambda: self._choose(runs))
        evaluated = self._once(EVALUATE, [chosen], lambda: self._evaluate(chosen, runs))
        self._once(SCORE, [start, tuned, chosen, evaluated], lambda: self._score(start, tuned, chosen, evaluated))
        files = StudyFiles.inside(self._study.folder)
        self._folder.write_status(RunStatus(RunState.finished, self.done, len(PARTS)))
        close_run(self._folder, self._delivery, read_paper_scores(files.scores), files.told(), self._warnings)
        return files

    def _once(self, part: str, upstream: Sequence[PartRecord], do: Callable[[], Done]) -> PartRecord:
        record = self._ledger.once(part, self._settings[part], upstream, do, redo=part in self._study.redo)
        self.done += 1
        return record

    # --- the parts ------------------------------------------------------------------------------------------------

    def _start(self) -> Done:
        """The model before training, evaluated. It comes first: what is wrong with the evaluation shows before hours
        of training."""
        [found] = self._evaluated([replace(self._study.evaluation, label=BEFORE_TRAINING)])
        return Done({"evaluation": self._place(found)}, [SampleStore(found.folder).graded_file])

    def _tune(self) -> Done:
        """Every arm searched alike on select problems; nothing without a sweep."""
        study = self._study
        if study.sweep is None:
            return Done({"arms": {}, "tuned": []})

        def search(plan: PreparedSweep) -> None:
            from sfpo_bench.experiments.sweep.runner import run_sweep

            run_sweep(plan, self._slots, self._warnings)

        settings, tuned = tune_arms(study.config, study.arms, study.config_name, study.overrides, study.sweep, search)
        write_tuning(study.folder, tuned)
        result = {
            "arms": {key: asdict(arm) for key, arm in settings.items()},
            "tuned": [asdict(one) for one in tuned],
        }
        return Done(result, tuning_files(study.folder))

    def _tuned_arms(self, tuned: PartRecord) -> list[Arm]:
        """The arms at what the tuning chose for them."""
        study, found = self._study, tuned.result["arms"]
        assert isinstance(found, dict)
        if found:
            study.config.comparison.arms = {key: ArmSettings(**values) for key, values in found.items()}
        return compose_arms(study.config, study.config_name, study.overrides)

    def _compare(self, arms: list[Arm], runs: Sequence[PlannedRun]) -> Done:
        """Arms x seeds, trained and reported on their own."""
        with PreparedComparison.held(self._study.config, arms, self._slots, _REMEDY) as comparison:
            run_comparison(comparison, self._warnings)
        folders = [RunFolder(run.folder) for run in runs]
        files = [file for folder in folders for file in (folder.journal, folder.status_file)]
        return Done({"runs": [_label(run) for run in runs]}, files)

    def _choose(self, runs: Sequence[PlannedRun]) -> Done:
        """The checkpoints that will be evaluated."""
        config = self._study.config
        return Done(
            checkpoints.to_plain(checkpoints.choose(runs, config.study.budget_axis, config.training.keep_every))
        )

    def _evaluate(self, chosen: PartRecord, runs: Sequence[PlannedRun]) -> Done:
        """Every chosen checkpoint on the suite; one that was chosen twice is evaluated once."""
        folders = {(run.arm, run.seed): run.folder for run in runs}
        chosen_of = checkpoints.from_plain(chosen.result).chosen
        wanted = sorted(dict.fromkeys((one.arm, one.seed, one.step) for one in chosen_of), key=lambda one: one[1:])
        asked = [self._study.evaluation_of(folders[arm, seed], step) for arm, seed, step in wanted]
        found = self._evaluated(asked)
        places = {_key(*own): self._place(one) for own, one in zip(wanted, found, strict=True)}
        return Done({"evaluations": places}, [SampleStore(one.folder).graded_file for one in found])

    def _score(self, start: PartRecord, tuned: PartRecord, chosen: PartRecord, evaluated: PartRecord) -> Done:
        """Intervals, differences, tables, figures, the page."""
        study, choice = self._study, checkpoints.from_plain(chosen.result)
        places = evaluated.result["evaluations"]
        assert isinstance(places, dict)
        read = {key: read_evaluation(study.folder / place) for key, place in places.items()}
        found = [Evaluated(one, read[_key(one.arm, one.seed, one.step)]) for one in choice.chosen]
        before = read_evaluation(study.folder / str(start.result["evaluation"]))
        labels = {arm.key: arm.label for arm in study.arms}
        baseline = study.config.comparison.baseline
        rows = score_rows(before, found, choice, labels, baseline, study.config.study.model)
        made = {part: record for part in PARTS if (record := self._ledger.read(part))}
        versions = {part: record.settings[CODE_VERSION] for part, record in made.items()}
        versions[SCORE] = self._settings[SCORE][CODE_VERSION]
        files = write_study_report(study, rows, choice, _tuned(tuned.result), versions)
        return Done({"rows": len(rows)}, files.all())

    # --- evaluations ----------------------------------------------------------------------------------------------

    def _evaluated(self, asked: Sequence[EvaluateSettings]) -> list[Evaluation]:
        """The evaluations of these settings, in their order; what is there is not sampled again."""
        with settings_named_as_in_a_study():
            plans = [evaluations.plan(settings) for settings in asked]
        found: dict[Path, Evaluation] = {}

        def done(plan: evaluations.EvaluationPlan, evaluation: Evaluation) -> None:
            publish(evaluation, self._delivery, self._warnings, self._folder.uid())
            found[plan.store.path] = evaluation
            self._say(f"  [{len(found)}/{len(plans)}] {evaluation.owner.label} evaluated")

        with settings_named_as_in_a_study(), SampleBoard(f"{self._study.name}, evaluation") as board:
            evaluate_in_slots(
                plans, self._slots, StopRequest(), evaluations.SampleProgress(board.start, board.done), done
            )
        return [found[plan.store.path] for plan in plans]

    def _place(self, found: Evaluation) -> str:
        return found.folder.resolve().relative_to(self._study.folder.resolve()).as_posix()


def _tuned(result: Mapping[str, object]) -> list[Tuned]:
    rows = result["tuned"]
    assert isinstance(rows, list)
    return [Tuned(**{**row, "edges": tuple(row["edges"]), "extended": tuple(row["extended"])}) for row in rows]


def _key(arm: str, seed: int, step: int) -> str:
    return f"{arm}/{seed}/{step}"


def _label(run: PlannedRun) -> str:
    return f"{run.arm}/{run.seed}"
