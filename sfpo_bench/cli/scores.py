"""`sfpo-bench scores FOLDERS`: compares several evaluations with paired differences, and may choose among them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.algorithms.facts import unmarked
from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ScoresSettings
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.evaluation.forms import EvaluatingOrganization
from sfpo_bench.evaluation.grader_difference import difference_blocks, difference_csv
from sfpo_bench.evaluation.record import Evaluation, read_evaluation, runs_of
from sfpo_bench.evaluation.sample_logs.arms import LogOptions, ScoredLogs, score_logs
from sfpo_bench.evaluation.sample_logs.record import GradesBy, PairBy
from sfpo_bench.evaluation.shared_forms import check_forms, write_forms
from sfpo_bench.problems.sets import SuiteChoice, choice_on, suite
from sfpo_bench.results.evaluation import ChoiceRecord, EvaluationFolder
from sfpo_bench.results.names import REGRADED_TABLE
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.sample_store import SampleStore
from sfpo_bench.results.stored_files import write_atomically


def act(node: DictConfig) -> None:
    report(verb_settings(node, ScoresSettings))


def report(settings: ScoresSettings) -> None:
    """Choose an evaluation if requested, then write and print the tables."""
    from sfpo_bench.evaluation.graded_benchmark import METRICS
    from sfpo_bench.evaluation.leaderboard import leaderboard, leaderboard_blocks, write_leaderboard
    from sfpo_bench.evaluation.scores import arms_of, check_paired
    from sfpo_bench.evaluation.tables import check_tables_folder, write_tables

    choice = choice_on(settings.choose_on, settings.allow_report, "choose_on") if settings.choose_on else None
    if settings.metric not in METRICS:
        raise ConfigError(f"metric = {settings.metric!r}; expected one of {', '.join(METRICS)}")
    evaluator = EvaluatingOrganization(settings.organization, settings.relationship)
    check_forms(settings.forms, evaluator)
    logs = _logs(settings)
    found = _all(settings, logs)
    _check_alike(settings, found)
    k = settings.k or min(one.asked.samples for one in found)
    baseline = _baseline(settings, [arm.name for arm in arms_of(found)])
    if logs.evaluations:
        check_paired(arms_of(found), baseline)
    out = Path(settings.out)
    check_tables_folder(found, baseline, k, out)
    if choice is not None:
        _choose(found, choice, settings.metric, k)
        found = _all(settings, logs)
    board = leaderboard(arms_of(found), settings.metric, k)
    more = [*(leaderboard_blocks(board) if board else []), *difference_blocks(logs.agreements)]
    files = write_tables(arms_of(found), baseline, k, out, more)
    if board:
        write_leaderboard(board, out)
    if logs.agreements:
        write_atomically(out / REGRADED_TABLE, difference_csv(logs.agreements))
    shared = write_forms(found, k, settings.forms, evaluator, out, int(time.time()))
    say(files.markdown.read_text(encoding="utf-8").replace("\\", "").replace("**", "").rstrip())
    say("")
    say(f"tables: {files.markdown}, {files.csv}, {files.latex}; rows for paper tables: {files.paper_scores}")
    if logs.agreements:
        say(f"samples that one grader alone calls correct: {out / REGRADED_TABLE}")
    for path in shared.files:
        say(f"wrote {path}")
    for reason in shared.left_out:
        say(f"not in .eval_results: {reason}")


def _logs(settings: ScoresSettings) -> ScoredLogs:
    """Return the evaluations in the sample logs of other programs."""
    of_logs = ("grade", "names", "cut_last_line")
    if not settings.logs and (unread := [name for name in of_logs if getattr(settings, name)]):
        raise ConfigError(
            f"{unread[0]} is a setting for sample logs, and there are none; add logs.NAME=[FILE], or leave it out"
        )
    if settings.logs and settings.choose_on:
        raise ConfigError(
            "choose_on together with logs: a choice is written into the evaluation's folder, and a log has none"
        )
    if settings.grades is GradesBy.ours and settings.grade:
        raise ConfigError("grade together with grades=ours: grade selects a grade of the logs; leave one of them out")
    options = LogOptions(
        settings.grades, tuple(settings.grade), settings.pair_by, dict(settings.names), settings.cut_last_line
    )
    return score_logs(settings.logs, options)


def _all(settings: ScoresSettings, logs: ScoredLogs) -> list[Evaluation]:
    """Return the evaluations of the folders and of the logs."""
    if not settings.folders and not logs.evaluations:
        raise ConfigError(
            "name at least one folder that `sfpo-bench evaluate` wrote, folders=[A,B], or the sample logs of other "
            "programs, logs.A=[FILE]"
        )
    own = _evaluations(settings.folders)
    if twice := {one.owner.arm for one in own} & {one.owner.arm for one in logs.evaluations}:
        raise ConfigError(f"logs.{min(twice)} is an arm of the evaluations too; give the logs another name")
    if settings.pair_by is PairBy.id:
        own = [replace(one, graded={name: sheet.by_id() for name, sheet in one.graded.items()}) for one in own]
    return [*own, *logs.evaluations]


def _check_alike(settings: ScoresSettings, found: Sequence[Evaluation]) -> None:
    from sfpo_bench.evaluation.scores import unlike

    different = unlike(found) if len(found) > 1 else []
    if different and not settings.unlike:
        raise ConfigError(
            f"the evaluations were sampled or graded differently ({'; '.join(different)}), so a difference would not "
            "be due to the models alone; evaluate them in the same way, or set unlike=true, and every table says so"
        )


def _baseline(settings: ScoresSettings, names: Sequence[str]) -> str:
    asked = settings.baseline or names[0]
    found = next((name for name in names if asked in (name, unmarked(name))), "")
    if not found:
        raise ConfigError(f"baseline = {asked!r} is no arm of these evaluations; expected one of {', '.join(names)}")
    return found


def _evaluations(folders: Sequence[str]) -> list[Evaluation]:
    """Return the evaluations in the folders; a comparison's folder stands for those of all its runs."""
    found = [one for folder in folders for one in _of_folder(Path(folder))]
    return list({one.folder.resolve(): one for one in found}.values())


def _of_folder(folder: Path) -> list[Evaluation]:
    runs = runs_of(folder) or ([folder] if RunFolder(folder).config.is_file() else [])
    inside = [one.path for run in runs for one in EvaluationFolder.inside(RunFolder(run))]
    if runs and not inside:
        raise MissingDataError(f"no run of {folder} was evaluated; run `sfpo-bench evaluate run={folder}`")
    return [read_evaluation(one) for one in inside or [folder]]


def _choose(found: Sequence[Evaluation], choice: SuiteChoice, metric: str, k: int) -> None:
    """Choose the evaluation with the best average on the suite, and record the choice beside its samples."""
    from sfpo_bench.evaluation.scores import ScoredArm, best_arms

    candidates = {one.owner.label: one for one in found}
    if len(candidates) < len(found):
        raise ConfigError("two evaluations have the same label; give them different ones when they are evaluated")
    benchmarks = [entry.name for entry in suite(choice.suite).benchmarks]
    best, *equal = best_arms([ScoredArm(label, (one,)) for label, one in candidates.items()], metric, k, benchmarks)
    chosen = best.evaluations[0]
    if choice.on_report:
        record = ChoiceRecord(choice.suite, choice.role.value, f"{metric}@{k}", tuple(candidates), choice.note)
        EvaluationFolder.of_store(SampleStore(chosen.folder)).write_choice(record)
    tie = f", the first of {len(equal) + 1} with equal scores ({', '.join(one.name for one in equal)})" if equal else ""
    say(f"chosen: {best.name}{tie}, {choice.note}")
