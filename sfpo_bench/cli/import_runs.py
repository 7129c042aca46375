"""`sfpo-bench import [LOG]`: converts runs of other trainers into a comparison folder."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ImportSettings
from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.importing import mlflow_log
from sfpo_bench.importing.comparison import About, common_axes, uneven_seeds, write_comparison
from sfpo_bench.importing.costs import StatedCosts
from sfpo_bench.importing.curves import ImportedRun, imported_run
from sfpo_bench.importing.fields import OWN_NAMES, PRESETS, Fields, Preset, as_logged, settle_accuracy
from sfpo_bench.importing.log import RunLog, as_resumed
from sfpo_bench.importing.naming import Names
from sfpo_bench.importing.reader import Given, TextFormat
from sfpo_bench.importing.readers import READERS, recognised
from sfpo_bench.results.names import BESIDE_COMPARISONS, check_name, check_root, check_unlike, folder_name, key_of
from sfpo_bench.tracking.mlflow_store import resolve_tracking_uri


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ImportSettings)
    check_root(settings.output_root)
    logs, origin, preset = _logs(settings)
    found = sorted({name for log in logs for row in log.rows for name in (*row.values, *row.unread)})
    _check_names(settings, found)
    fields = as_logged(PRESETS[preset], found).with_names({name: getattr(settings, name) for name in OWN_NAMES})
    fields = settle_accuracy(fields, found)
    _check_stated_costs(settings, logs, fields)
    runs = [_run(log, fields, settings) for log in logs]
    name = settings.name or _name(settings)
    check_name("name", name, BESIDE_COMPARISONS)
    folder = Path(settings.output_root) / name
    check_unlike(folder)
    about = About(name, origin, fields.accuracy, settings.baseline, tuple(settings.targets), settings.temperature)
    plan = write_comparison(folder, runs, about)
    counts = {arm: sum(run.arm == arm for run in runs) for arm in dict.fromkeys(run.arm for run in runs)}
    arms = ", ".join(f"{arm} {count}" for arm, count in counts.items())
    say(f"imported from {origin}: {arms}; baseline {plan.baseline}")
    say(f"accuracy: {fields.accuracy}; costs: {', '.join(plan.axes)}")
    notes = [*(note for run in runs for note in run.notes), *common_axes(runs)[1], *uneven_seeds(runs)]
    for line in dict.fromkeys(notes):
        say(f"note: {line}")
    say(f"sfpo-bench report {folder}")


def _logs(settings: ImportSettings) -> tuple[list[RunLog], str, Preset]:
    """Return the logs, a description of their origin, and the preset of their names."""
    given = [name for name in ("log", "files", "mlflow") if getattr(settings, name)]
    if len(given) != 1:
        raise ConfigError(
            f"found {', '.join(given) or 'no log'}; expected one: a log with all runs (sfpo-bench import mine.csv), "
            "files by arm (files.grpo=[a.json]), or an MLflow experiment (mlflow=NAME uri=URI)"
        )
    names = Names(settings.step, settings.arm, settings.seed, settings.run_name)
    if settings.mlflow:
        _check_unread(settings, {mlflow_log.KIND: mlflow_log.SETTINGS})
        uri = resolve_tracking_uri(settings.uri or None, Path("results"), os.environ)
        runs = mlflow_log.mlflow_runs(uri, settings.mlflow, names, settings.later_wins)
        return runs, f"the MLflow experiment {settings.mlflow}", settings.preset
    _check_files(settings)
    paths = settings.files or {"": [settings.log]}
    sources = [(arm, at, recognised(Path(path))) for arm, own in paths.items() for at, path in enumerate(own)]
    _check_unread(settings, {one.reader.kind: one.reader.settings for _, _, one in sources})
    form = TextFormat(settings.separator, settings.decimal, settings.cut_last_line)
    found = [
        (arm, log)
        for arm, at, source in sources
        for log in source.runs(Given(names, form, arm, at if settings.files else None))
    ]
    _check_arms(found)
    logs = [as_resumed(log) if settings.later_wins else log for _, log in found]
    preset = _preset(settings, {source.reader.preset for _, _, source in sources})
    return logs, Path(settings.log).name if settings.log else f"{len(found)} logs ({preset})", preset


def _preset(settings: ImportSettings, usual: set[Preset]) -> Preset:
    """Return the preset that the user chose, or else the one that all logs share."""
    return usual.pop() if settings.preset is Preset.own and len(usual) == 1 else settings.preset


def _check_files(settings: ImportSettings) -> None:
    empty = [arm for arm, paths in settings.files.items() if not arm.strip() or not paths]
    if empty:
        raise ConfigError(f"files has the arm {empty[0]!r} without a name or a log; expected files.ARM=[LOG,…]")
    paths = [Path(path).resolve() for own in settings.files.values() for path in own]
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise ConfigError(f"files names {twice[0]} twice; expected every log once: it is one run")


def _check_arms(found: Sequence[tuple[str, RunLog]]) -> None:
    """Refuse a log that was given under an arm but names another arm itself."""
    for arm, log in found:
        if arm and log.arm != arm:
            raise ConfigError(
                f"files.{arm} names {log.source}, whose column of arms says {log.arm!r}; expected {arm!r} there, or "
                "name another column with arm=NAME"
            )


def _check_unread(settings: ImportSettings, read: Mapping[str, frozenset[str]]) -> None:
    """Raise `ConfigError` for settings that do not apply to these kinds of logs."""
    usual = ImportSettings()
    kinds = {mlflow_log.KIND: mlflow_log.SETTINGS, **{one.kind: one.settings for one in READERS}}
    for name in sorted(set().union(*kinds.values()) - set().union(*read.values())):
        if getattr(settings, name) != getattr(usual, name):
            able = ", ".join(kind for kind, own in kinds.items() if name in own)
            raise ConfigError(
                f"{name} = {str(getattr(settings, name))!r} is not read for this log, {' and '.join(read)}; it is for "
                f"{able}. A log without arm and seed gets them from its place in files.ARM=[LOG,…]"
            )


def _check_names(settings: ImportSettings, known: Sequence[str]) -> None:
    """Raise `ConfigError` if a log lacks a name that the user gave; names from a preset may be missing."""
    for setting in OWN_NAMES:
        name = getattr(settings, setting)
        if name and name not in known:
            raise ConfigError(
                f"{setting} = {name!r} is not a column of numbers in the log; expected one of {', '.join(known[:40])}"
            )


def _check_stated_costs(settings: ImportSettings, logs: Sequence[RunLog], fields: Fields) -> None:
    """Raise `ConfigError` for stated costs that name unknown arms, have no effect, or contradict the log."""
    arms = list(dict.fromkeys(log.arm for log in logs))
    for arm, responses in settings.responses_per_step_of.items():
        if arm not in arms:
            raise ConfigError(f"responses_per_step_of has the arm {arm!r}; expected one of {', '.join(arms)}")
        if not (math.isfinite(responses) and responses > 0):
            raise ConfigError(f"responses_per_step_of.{arm} = {responses:g}; expected a number above 0")
    stated = {
        "responses_per_step": (settings.responses_per_step, fields.costs.get(CostAxis.responses)),
        "responses_per_step_of": (settings.responses_per_step_of, fields.costs.get(CostAxis.responses)),
        "responses_per_prompt": (settings.responses_per_prompt, fields.costs.get(CostAxis.prompts)),
        "evaluation_responses": (settings.evaluation_responses, fields.n),
    }
    for setting, (value, name) in stated.items():
        if value and name and all(any(name in row.values for row in log.rows) for log in logs):
            raise ConfigError(f"{setting} is set, but the log records it as {name}; expected one of the two")
    levels = [row.values[fields.accuracy] for log in logs for row in log.rows if fields.accuracy in row.values]
    if settings.percent and levels and max(levels) <= 1:
        raise ConfigError(
            f"percent = true, and no {fields.accuracy} is above {max(levels):g}; expected percentages: leave percent "
            "out where they are shares"
        )


def _run(log: RunLog, fields: Fields, settings: ImportSettings) -> ImportedRun:
    per_step = settings.responses_per_step_of.get(log.arm, settings.responses_per_step)
    stated = StatedCosts(per_step, settings.responses_per_prompt, settings.evaluation_responses)
    return imported_run(log, fields, stated, 0.01 if settings.percent else 1.0, settings.temperature)


def _name(settings: ImportSettings) -> str:
    """Return a folder name made from the name of the log or the experiment."""
    text = Path(settings.log).stem if settings.log else settings.mlflow
    name = folder_name(text[:60], "imported")
    return name if key_of(name) not in BESIDE_COMPARISONS else f"{name}-imported"
