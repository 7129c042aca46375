"""Runs a study part by part; parts with a valid result are skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from sfpo_bench.core.errors import BenchError, Interrupted
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation import run as evaluations
from sfpo_bench.evaluation.in_slots import evaluate_in_slots
from sfpo_bench.evaluation.publish import publish
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.sample_board import SampleBoard
from sfpo_bench.experiments.comparison.arms import Arm, PlannedRun, compose_arms, planned_runs
from sfpo_bench.experiments.comparison.runner import PreparedComparison, run_comparison
from sfpo_bench.experiments.study.design import Part, StudyReport
from sfpo_bench.experiments.study.ledger import CODE_VERSION, COMPARE, TUNE, Done, Ledger
from sfpo_bench.experiments.study.plan import Study, check_labels
from sfpo_bench.experiments.study.suite import settings_named_as_in_a_study
from sfpo_bench.experiments.study.tracked import close_run, open_run
from sfpo_bench.experiments.sweep.plan import PreparedSweep
from sfpo_bench.experiments.sweep.tune import Tuned, tune_arms, tuning_files, write_tuning
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.study import PartRecord, StudyFolder
from sfpo_bench.settings.comparison import ArmSettings, check_comparison
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.tracking.store_warnings import StoreWarnings
from sfpo_bench.tracking.stores import delivery_of
from sfpo_bench.workers.build import slot_count

Say = Callable[[str], None]

# Remedy for a changed comparison, which has no other folder in a study.
_REMEDY = "Undo the change to continue it, or give this study another name (name=...)"


def run_study(study: Study, say: Say) -> StudyReport:
    """Do every unfinished part; return the result of the last one.

    Raises `ComparisonChanged` before any work if a part was done with other settings, `Interrupted` on a stop request
    (everything is kept), and the errors of the parts.
    """
    folder, count = RunFolder(study.folder), len(study.parts)
    ledger = Ledger(study.folder, study.parts, say, any_code=bool(study.redo))
    ledger.check(study.settings(), study.redo)
    with folder.locked():
        StudyFolder(study.folder).write_plan(study.describe())
        parts = StudyParts(study, ledger, say)
        try:
            return parts.run()
        except (Interrupted, KeyboardInterrupt):
            folder.write_status(RunStatus(RunState.interrupted, parts.done, count))
            raise
        except BenchError as error:
            folder.write_status(RunStatus(RunState.failed, parts.done, count, str(error)))
            raise


class StudyParts:
    """The parts of a study in order, and the interface for the parts of its design; `done` counts the finished ones."""

    def __init__(self, study: Study, ledger: Ledger, say: Say) -> None:
        self.study = study
        self.arms: Sequence[Arm] = study.arms
        self.runs: Sequence[PlannedRun] = ()
        self._ledger = ledger
        self._say = say
        self._settings = study.settings()
        self._records: dict[str, PartRecord] = {}
        self._folder = RunFolder(study.folder)
        self._slots = slot_count(study.config.launching, study.config.comparison.slots)
        self._delivery = delivery_of(study.config.tracking, study.folder)
        self._warnings = StoreWarnings(say)

    @property
    def done(self) -> int:
        return len(self._records)

    def run(self) -> StudyReport:
        """Do every part; return the result of the last one."""
        study, count = self.study, len(self.study.parts)
        self._folder.write_status(RunStatus(RunState.running, 0, count))
        open_run(self._folder, self._delivery, self._warnings)
        self._all(study.design.before)
        self._once(TUNE, [], self._tune)
        self._take_tuned()
        self._once(COMPARE, [TUNE], self._compare)
        self._all(study.design.after)
        report = study.design.report(study)
        self._folder.write_status(RunStatus(RunState.finished, self.done, count))
        close_run(self._folder, self._delivery, report.numbers, report.stored, self._warnings)
        return report

    def _all(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self._once(part.name, part.upstream, partial(part.do, self))

    def _once(self, part: str, upstream: Sequence[str], do: Callable[[], Done]) -> None:
        before = [self._records[name] for name in upstream]
        redo = part in self.study.redo
        self._records[part] = self._ledger.once(part, self._settings[part], before, do, redo=redo)

    # --- parts of every study -------------------------------------------------------------------------------------

    def _tune(self) -> Done:
        """Tune every arm in the same way on select problems; does nothing without a sweep."""
        study = self.study
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

    def _take_tuned(self) -> None:
        """Compose the arms to compare, with the settings chosen by the tuning."""
        study, found = self.study, self.record(TUNE).result["arms"]
        assert isinstance(found, dict)
        comparison = study.config.comparison
        tuned = {key: ArmSettings(**values) for key, values in found.items()} or comparison.arms
        comparison.arms = dict(study.design.compared(study.config, tuned))
        check_comparison(comparison)
        arms = compose_arms(study.config, study.config_name, study.overrides)
        check_labels(arms)
        self.arms, self.runs = arms, planned_runs(arms, study.seeds, StudyFolder(study.folder).comparison)

    def _compare(self) -> Done:
        """Train and report arms x seeds as a comparison."""
        with PreparedComparison.held(self.study.config, list(self.arms), self._slots, _REMEDY) as comparison:
            run_comparison(comparison, self._warnings)
        folders = [RunFolder(run.folder) for run in self.runs]
        files = [file for folder in folders for file in (folder.journal, folder.status_file)]
        return Done({"runs": [_label(run) for run in self.runs]}, files)

    # --- interface for the parts of a design ----------------------------------------------------------------------

    def record(self, part: str) -> PartRecord:
        """Return the record of a finished part."""
        return self._records[part]

    def tuned(self) -> list[Tuned]:
        """Return the results of the tuning; empty without one."""
        rows = self.record(TUNE).result["tuned"]
        assert isinstance(rows, list)
        return [Tuned(**{**row, "edges": tuple(row["edges"]), "extended": tuple(row["extended"])}) for row in rows]

    def versions(self) -> Mapping[str, object]:
        """Return the code version of each part, including the current one."""
        names = self.study.parts[: self.done + 1]
        made = {name: self._records.get(name) for name in names}
        return {
            name: (record.settings if record else self._settings[name])[CODE_VERSION] for name, record in made.items()
        }

    def evaluated(self, asked: Sequence[EvaluateSettings]) -> list[Evaluation]:
        """Return the evaluations of these settings in order; existing samples are reused."""
        with settings_named_as_in_a_study():
            plans = [evaluations.plan(settings) for settings in asked]
        found: dict[Path, Evaluation] = {}

        def done(plan: evaluations.EvaluationPlan, evaluation: Evaluation) -> None:
            publish(evaluation, self._delivery, self._warnings, self._folder.uid())
            found[plan.store.path] = evaluation
            self._say(f"  [{len(found)}/{len(plans)}] {evaluation.owner.label} evaluated")

        with settings_named_as_in_a_study(), SampleBoard(f"{self.study.name}, evaluation") as board:
            evaluate_in_slots(
                plans, self._slots, StopRequest(), evaluations.SampleProgress(board.start, board.done), done
            )
        return [found[plan.store.path] for plan in plans]


def _label(run: PlannedRun) -> str:
    return f"{run.arm}/{run.seed}"
