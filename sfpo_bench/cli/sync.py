"""`sfpo-bench sync`: deliver to MLflow what the store does not have yet."""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import SyncSettings
from sfpo_bench.errors import MissingDataError
from sfpo_bench.evaluation.tracked import is_evaluation
from sfpo_bench.hydra_store import verb_settings
from sfpo_bench.tracking.delivery import Delivery, RunKey
from sfpo_bench.tracking.feed import has_own_numbers, is_tracked, key_of
from sfpo_bench.tracking.mlflow_store import check_tracking_uri
from sfpo_bench.tracking.run_folder import STUDY_FILE, RunFolder
from sfpo_bench.training.checkpoint import covered_bytes


def act(node: DictConfig) -> None:
    settings = verb_settings(node, SyncSettings)
    root = Path(settings.output_root)
    if not root.is_dir():
        raise MissingDataError(f"output_root = {root} does not exist; name the folder that holds the runs")
    check_tracking_uri(settings.uri or None, root, os.environ)
    delivery = Delivery(settings.experiment, root, tracking_uri=settings.uri or None)
    untracked: list[RunFolder] = []

    def key(folder: RunFolder) -> RunKey | None:
        if not has_own_numbers(folder):
            return None
        if not settings.untracked and not is_tracked(folder):
            untracked.append(folder)
            return None
        return key_of(folder)

    found = delivery.sync(root, _covered, key)
    say(f"{found.runs} runs: {found.records} records delivered, {found.already_complete} runs were complete")
    if untracked:
        say(f"{len(untracked)} of tracking=none were left alone; untracked=true delivers them too")


def _covered(folder: RunFolder) -> int:
    """How much of a journal may be told for good; evaluations and studies write all of theirs at once."""
    whole = is_evaluation(folder) or (folder.path / STUDY_FILE).is_file()
    return folder.journal.stat().st_size if whole else covered_bytes(folder)
