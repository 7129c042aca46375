"""`sfpo-bench sync`: delivers runs to MLflow that the store does not have yet."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import SyncSettings
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.evaluation.tracked import is_evaluation
from sfpo_bench.results.redaction import redact
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.study import StudyFolder
from sfpo_bench.settings.comparison import TrackingSettings
from sfpo_bench.tracking.cursor import Cursor
from sfpo_bench.tracking.delivery import Delivery, SyncSummary, run_folders
from sfpo_bench.tracking.feed import key_of
from sfpo_bench.tracking.mlflow_store import check_tracking_uri, resolve_tracking_uri
from sfpo_bench.tracking.outstanding import has_own_numbers, home_of, is_tracked
from sfpo_bench.training.checkpoint import covered_bytes

_COUNTS = ("runs", "records", "already_complete")
_EXPERIMENT = TrackingSettings().experiment


def act(node: DictConfig) -> None:
    settings = verb_settings(node, SyncSettings)
    root = Path(settings.output_root)
    if not root.is_dir():
        raise MissingDataError(f"output_root = {root} does not exist; name the folder that holds the runs")
    check_tracking_uri(settings.uri or None, root, os.environ)
    chosen = bool(settings.uri or os.environ.get("MLFLOW_TRACKING_URI"))
    store = redact(resolve_tracking_uri(settings.uri or None, root, os.environ), os.environ)
    wanted: dict[str, set[Path]] = {}
    elsewhere: Counter[str] = Counter()
    untracked = 0
    for folder in run_folders(root):
        home = home_of(folder)
        if Cursor.load(folder) is None and not has_own_numbers(folder):
            continue
        if Cursor.load(folder) is None and not settings.untracked and not is_tracked(folder):
            untracked += 1
        elif home.is_elsewhere(store) and not chosen:
            elsewhere[home.store] += 1
        else:
            wanted.setdefault(settings.experiment or home.experiment or _EXPERIMENT, set()).add(folder.path)
    done = [_sync(settings, root, experiment, places) for experiment, places in wanted.items()]
    runs, records, complete = (sum(getattr(one, name) for one in done) for name in _COUNTS)
    say(f"{runs} runs: {records} records delivered, {complete} runs were complete")
    if untracked:
        say(f"{untracked} of tracking=none were left alone; untracked=true delivers them too")
    for other, count in elsewhere.items():
        say(f"{count} belong to {other} and were left alone; uri=URI delivers to the store that it names")


def _sync(settings: SyncSettings, root: Path, experiment: str, places: Collection[Path]) -> SyncSummary:
    delivery = Delivery(experiment, root, tracking_uri=settings.uri or None)
    return delivery.sync(root, _covered, key_of, lambda folder: folder.path in places)


def _covered(folder: RunFolder) -> int:
    """Return the bytes of the journal that a resume never truncates; evaluations and studies have no checkpoints."""
    whole = is_evaluation(folder) or StudyFolder(folder.path).exists()
    return folder.journal.stat().st_size if whole else covered_bytes(folder)
