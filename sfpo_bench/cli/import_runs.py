"""`sfpo-bench import [LOG]`: runs trained elsewhere, as a comparison that `report`, `list` and the notebooks read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ImportSettings
from sfpo_bench.errors import ConfigError
from sfpo_bench.hydra_store import verb_settings
from sfpo_bench.importing.comparison import About, common_axes, write_comparison
from sfpo_bench.importing.costs import Told
from sfpo_bench.importing.csv_log import Keys, csv_runs
from sfpo_bench.importing.curves import ImportedRun, imported_run
from sfpo_bench.importing.fields import OWN_NAMES, PRESETS, Fields, settle_accuracy
from sfpo_bench.importing.json_log import json_run
from sfpo_bench.importing.log import RunLog
from sfpo_bench.importing.mlflow_log import Names, mlflow_runs
from sfpo_bench.tracking.mlflow_store import resolve_tracking_uri


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ImportSettings)
    logs, origin = _logs(settings)
    fields = PRESETS[settings.preset].with_names({name: getattr(settings, name) for name in OWN_NAMES})
    _check_names(settings, logs)
    fields = settle_accuracy(fields, [name for log in logs for row in log.rows for name in row.values])
    runs = [_run(log, fields, settings) for log in logs]
    name = settings.name or _name(settings)
    folder = Path(settings.output_root) / name
    about = About(name, origin, fields.accuracy, settings.baseline, tuple(settings.targets), settings.temperature)
    plan = write_comparison(folder, runs, about)
    counts = {arm: sum(run.arm == arm for run in runs) for arm in dict.fromkeys(run.arm for run in runs)}
    arms = ", ".join(f"{arm} {count}" for arm, count in counts.items())
    say(f"imported from {origin}: {arms}; baseline {plan.baseline}")
    say(f"accuracy: {fields.accuracy}; costs: {', '.join(plan.axes)}")
    for line in [*(note for run in runs for note in run.notes), *common_axes(runs)[1]]:
        say(f"note: {line}")
    say(f"sfpo-bench report {folder}")


def _logs(settings: ImportSettings) -> tuple[list[RunLog], str]:
    """The logs, and where they come from in words."""
    given = [name for name in ("log", "files", "mlflow") if getattr(settings, name)]
    if len(given) != 1:
        raise ConfigError(
            f"found {', '.join(given) or 'no log'}; expected one: a CSV file (sfpo-bench import mine.csv), files by "
            "arm (files.grpo=[a.json]), or an MLflow experiment (mlflow=NAME uri=URI)"
        )
    if settings.mlflow:
        uri = resolve_tracking_uri(settings.uri or None, Path("results"), os.environ)
        runs = mlflow_runs(uri, settings.mlflow, Names(settings.arm, settings.seed))
        return runs, f"the MLflow experiment {settings.mlflow}"
    if settings.log:
        return _file(Path(settings.log), settings, "run", 0), Path(settings.log).name
    found = [
        log
        for arm, paths in settings.files.items()
        for seed, path in enumerate(paths)
        for log in _file(Path(path), settings, arm, seed)
    ]
    return found, f"{len(found)} logs ({settings.preset})"


def _file(path: Path, settings: ImportSettings, arm: str, seed: int) -> list[RunLog]:
    if path.suffix in (".json", ".jsonl"):
        return [json_run(path, arm, seed, settings.step)]
    keys = Keys(settings.step, settings.arm or "arm", settings.seed)
    return csv_runs(path, keys, arm, seed)


def _check_names(settings: ImportSettings, logs: Sequence[RunLog]) -> None:
    """A name that was given must be there; one of the preset may be missing."""
    known = sorted({name for log in logs for row in log.rows for name in row.values})
    for setting in OWN_NAMES:
        name = getattr(settings, setting)
        if name and name not in known:
            raise ConfigError(
                f"{setting} = {name!r} is not a column of numbers in the log; expected one of {', '.join(known[:40])}"
            )


def _run(log: RunLog, fields: Fields, settings: ImportSettings) -> ImportedRun:
    per_step = settings.responses_per_step_of.get(log.arm, settings.responses_per_step)
    told = Told(per_step, settings.responses_per_prompt, settings.evaluation_responses)
    return imported_run(log, fields, told, 0.01 if settings.percent else 1.0, settings.temperature)


def _name(settings: ImportSettings) -> str:
    """A folder's name from that of the log or the experiment."""
    text = Path(settings.log).stem if settings.log else settings.mlflow or "imported"
    return re.sub(r"[^\w.-]+", "-", text).strip(".-") or "imported"
