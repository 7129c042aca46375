"""`sfpo-bench sync`: delivers runs to MLflow that the store does not have yet."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import astuple
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import SyncSettings
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.tracking import TrackingSettings, TrackingStore
from sfpo_bench.evaluation.tracked import is_evaluation
from sfpo_bench.results.comparison import ComparisonFolder
from sfpo_bench.results.containers import container_at
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.study import StudyFolder
from sfpo_bench.results.sweep import SweepFolder
from sfpo_bench.tracking.cursor import Cursor
from sfpo_bench.tracking.delivery import SyncSummary, run_folders
from sfpo_bench.tracking.feed import key_of
from sfpo_bench.tracking.outstanding import Home, has_own_numbers, home_of, is_tracked
from sfpo_bench.tracking.stores import address_of, at_address, check_store, delivery_of
from sfpo_bench.training.checkpoint import covered_bytes

_COUNTS = ("runs", "records", "already_complete")


def act(node: DictConfig) -> None:
    settings = verb_settings(node, SyncSettings)
    root = Path(settings.output_root)
    if not root.is_dir():
        raise MissingDataError(f"output_root = {root} does not exist; name the folder that holds the runs")
    chosen = bool(settings.uri or settings.folder or settings.store or os.environ.get("MLFLOW_TRACKING_URI"))
    wanted: dict[tuple[TrackingStore, str, str, str], set[Path]] = {}
    elsewhere: Counter[str] = Counter()
    untracked = 0
    for folder in run_folders(root):
        if Cursor.load(folder) is None and not has_own_numbers(folder):
            continue
        if Cursor.load(folder) is None and not settings.untracked and not is_tracked(folder):
            untracked += 1
            continue
        home = home_of(folder)
        target = _target(settings, home)
        if home.is_elsewhere(address_of(target, root)) and not chosen:
            elsewhere[home.store] += 1
        else:
            wanted.setdefault((target.store, target.uri, target.experiment, target.folder), set()).add(folder.path)
    targets = [(TrackingSettings(*of), places) for of, places in wanted.items()]
    for target, _ in targets or [(_target(settings, Home()), set())]:
        check_store(target, root)
    done = [_sync(target, root, places) for target, places in targets]
    runs, records, complete = (sum(getattr(one, name) for one in done) for name in _COUNTS)
    say(f"{runs} runs: {records} records delivered, {complete} runs were complete")
    if untracked:
        say(f"{untracked} of tracking=none were left alone; untracked=true delivers them too")
    for other, count in elsewhere.items():
        say(f"{count} belong to {other} and were left alone; uri=URI delivers to the store that it names")


def _target(settings: SyncSettings, home: Home) -> TrackingSettings:
    """Return the store that a run is delivered to: the one asked for, else the run's own."""
    kind = settings.store or ("mlflow" if settings.uri else "tensorboard" if settings.folder else home.kind.value)
    kinds = [one.value for one in TrackingStore if one is not TrackingStore.none]
    if kind not in kinds:
        raise ConfigError(f"store = {kind!r}; expected {', '.join(kinds)}, or empty for the store of each run")
    own = at_address(home.store).folder if kind == home.kind else ""
    experiment = settings.experiment or home.experiment or TrackingSettings().experiment
    return TrackingSettings(TrackingStore(kind), settings.uri, experiment, settings.folder or own)


def _sync(target: TrackingSettings, root: Path, places: Collection[Path]) -> SyncSummary:
    delivery = delivery_of(target, root)
    assert delivery is not None
    return delivery.sync(root, _covered, key_of, lambda folder: folder.path in places, _report_of)


def _report_of(folder: RunFolder) -> tuple[Path, ...]:
    """Return the files of the report of a comparison, sweep or study, which need not exist."""
    match container_at(folder.path):
        case ComparisonFolder():
            from sfpo_bench.reports import ReportFiles

            return astuple(ReportFiles.inside(folder.path))
        case SweepFolder():
            from sfpo_bench.reports.sweep.write import SweepFiles

            return SweepFiles.inside(folder.path).all()
        case StudyFolder():
            from sfpo_bench.experiments.study.page import StudyFiles

            return StudyFiles.inside(folder.path).tracked()
    return ()


def _covered(folder: RunFolder) -> int:
    """Return the bytes of the journal that a resume never truncates; evaluations and studies have no checkpoints."""
    whole = is_evaluation(folder) or StudyFolder(folder.path).exists()
    return folder.journal.stat().st_size if whole else covered_bytes(folder)
