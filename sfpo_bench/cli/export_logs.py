"""`sfpo-bench export-logs mllog FOLDER`: write a run, or the runs of a comparison, as logs of MLPerf."""

from __future__ import annotations

import shutil
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ExportLogsSettings
from sfpo_bench.core.costs import AXIS_KEYS
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.types import Split
from sfpo_bench.importing.mllog_export import ExportedRun, Submission, log_text
from sfpo_bench.reports.load import SeedStatus, load_comparison, read_one_run
from sfpo_bench.results.comparison import ComparisonFolder, ComparisonPlan, PlannedArm
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings import config as configuration


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ExportLogsSettings)
    if not settings.folder:
        raise ConfigError("no folder is named; expected sfpo-bench export-logs FORM FOLDER, of a run or a comparison")
    folder = Path(settings.folder)
    found, targets = _exported(folder)
    out = Path(settings.out or f"{folder.resolve().name}-{settings.form.value}")
    if out.exists():
        raise ConfigError(f"out = {out} exists already; name a folder that does not, out=FOLDER")
    target = settings.target or max(targets, default=0.0)
    about = Submission(settings.benchmark, settings.org, settings.platform, target)
    evaluated = [(key, one) for key, one in found if one.run.curve]
    if not evaluated:
        raise MissingDataError(f"{folder} has no run with an evaluation yet; nothing is exported")
    texts = {f"{key}/result_{one.run.seed}.txt": log_text(one, about) for key, one in evaluated}
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed export
    for place, text in texts.items():
        (partial / place).parent.mkdir(parents=True, exist_ok=True)
        (partial / place).write_text(text, encoding="utf-8")
    partial.rename(out)
    say(f"wrote {len(texts)} logs to {out}" + (f"; success is an accuracy of {target:g}" if target else ""))
    for line in _left_out(found):
        say(f"note: {line}")


def _exported(folder: Path) -> tuple[list[tuple[str, ExportedRun]], tuple[float, ...]]:
    """Return the runs with the names of their arms, and the targets that were set."""
    if ComparisonFolder(folder).exists():
        comparison = load_comparison(folder)
        plan = comparison.plan
        arms = plan.arms
        return [
            (one.arm, ExportedRun(one, arms[one.arm].label, plan.axes, {**arms[one.arm].settings, **_steps(plan)}))
            for one in comparison.runs
        ], plan.targets
    run = RunFolder(folder)
    above = ComparisonFolder.of_run(run)
    if above is not None:
        inside, targets = _exported(above.path)
        places = {above.run(key, one.run.seed).path.resolve(): (key, one) for key, one in inside}
        if folder.resolve() in places:
            return [places[folder.resolve()]], targets
    file = RunFolder.existing(folder).config
    config = configuration.read(file)
    plan = _plan_of(config)
    one = read_one_run(plan, plan.baseline, config.seed, run)
    settings = configuration.flatten(configuration.to_plain(configuration.read_saved(file)))
    # The log has the evaluations of `plan`; a rule on others says nothing about them.
    stop = config.training.stop_at
    alike = stop.split is plan.split and stop.mode.value == plan.mode
    return [(one.arm, ExportedRun(one, one.arm, AXIS_KEYS, settings))], (stop.accuracy,) if alike else ()


def _steps(plan: ComparisonPlan) -> dict[str, object]:
    """Return the steps of a comparison as a setting, which its arms omit; those of imported runs are unknown."""
    return {} if plan.origin else {"training.steps": plan.steps}


def _plan_of(config: configuration.RunConfig) -> ComparisonPlan:
    """Return the plan of a comparison with one run, whose curve has the sampled evaluations on report problems."""
    arm = config.algorithm.name or "run"
    return ComparisonPlan(
        schema_version=1,
        name=arm,
        baseline=arm,
        experiment="",
        axes_note="",
        targets=(),
        split=Split.report,
        mode="sampled",
        temperature=config.evaluation.temperature,
        seeds=(config.seed,),
        steps=config.training.steps,
        code_version="",
        arms={arm: PlannedArm(arm)},
    )


def _left_out(found: list[tuple[str, ExportedRun]]) -> list[str]:
    """Return a line for every run that has not ended or has no evaluation."""
    ended = (SeedStatus.finished, SeedStatus.failed)
    return [
        f"{one.label}, seed {one.run.seed} is {one.run.status.value}: its log has no run_stop"
        if one.run.curve
        else f"{one.label}, seed {one.run.seed} is {one.run.status.value} and has no evaluation: it has no log"
        for _, one in found
        if not one.run.curve or one.run.status not in ended
    ]
