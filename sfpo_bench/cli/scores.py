"""`sfpo-bench scores FOLDERS`: compares several evaluations with paired differences, and may choose among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.algorithms.facts import unmarked
from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ScoresSettings
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.evaluation.record import Evaluation, read_evaluation, runs_of
from sfpo_bench.problems.sets import SuiteChoice, choice_on, suite
from sfpo_bench.results.evaluation import ChoiceRecord, EvaluationFolder
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.sample_store import SampleStore


def act(node: DictConfig) -> None:
    report(verb_settings(node, ScoresSettings))


def report(settings: ScoresSettings) -> None:
    """Choose an evaluation if requested, then write and print the tables."""
    from sfpo_bench.evaluation.graded_benchmark import METRICS
    from sfpo_bench.evaluation.scores import arms_of, unlike
    from sfpo_bench.evaluation.tables import check_tables_folder, write_tables

    choice = choice_on(settings.choose_on, settings.allow_report, "choose_on") if settings.choose_on else None
    found = _evaluations(settings.folders)
    different = unlike(found) if len(found) > 1 else []
    if different and not settings.unlike:
        raise ConfigError(
            f"the evaluations were sampled differently ({'; '.join(different)}), so a difference would not "
            "be due to the models alone; evaluate them in the same way, or set unlike=true, and every table says so"
        )
    if settings.metric not in METRICS:
        raise ConfigError(f"metric = {settings.metric!r}; expected one of {', '.join(METRICS)}")
    k = settings.k or min(one.asked.samples for one in found)
    names = [arm.name for arm in arms_of(found)]
    asked = settings.baseline or names[0]
    baseline = next((name for name in names if asked in (name, unmarked(name))), "")
    if not baseline:
        raise ConfigError(f"baseline = {asked!r} is no arm of these evaluations; expected one of {', '.join(names)}")
    check_tables_folder(found, baseline, k, Path(settings.out))
    if choice is not None:
        _choose(found, choice, settings.metric, k)
        found = _evaluations(settings.folders)
    files = write_tables(arms_of(found), baseline, k, Path(settings.out))
    say(files.markdown.read_text(encoding="utf-8").replace("\\", "").replace("**", "").rstrip())
    say("")
    say(f"tables: {files.markdown}, {files.csv}, {files.latex}; rows for paper tables: {files.paper_scores}")


def _evaluations(folders: Sequence[str]) -> list[Evaluation]:
    """Return the evaluations in the folders; a comparison's folder stands for those of all its runs."""
    if not folders:
        raise ConfigError("name at least one folder that `sfpo-bench evaluate` wrote: folders=[A,B]")
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
