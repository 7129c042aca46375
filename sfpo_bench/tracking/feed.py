"""The one process that talks to MLflow: keys of run folders, and a thread that follows many of them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from sfpo_bench.core.errors import BenchError, CheckpointError, DeliveredElsewhere
from sfpo_bench.results.run_folder import STUDY_FILE, RunFolder, RunState
from sfpo_bench.results.stored_files import read_object, reading
from sfpo_bench.tracking.delivery import Delivery, RunKey
from sfpo_bench.tracking.store_warnings import StoreWarnings

CoveredBytes = Callable[[RunFolder], int]
_PAUSE_SECONDS = 3.0
_BACK_OFF_SECONDS = 30.0
_CLOSE_SECONDS = 60.0


def key_of(folder: RunFolder) -> RunKey | None:
    """How the tracking store shall know a run, a comparison or a sweep; None when the folder is none of them.

    A run inside a comparison or a sweep is a child of its run, and a comparison or a sweep inside a study a child of
    the study's.
    """
    if (folder.path / STUDY_FILE).is_file():
        content = read_object(folder.path / STUDY_FILE)
        return RunKey(
            folder.uid(), str(content.get("name", folder.path.name)), tags={"sfpo_bench.kind": "study"}, params=content
        )
    if (folder.path / "comparison.json").is_file():
        content = read_object(folder.path / "comparison.json")
        about = {name: content.get(name) for name in ("baseline", "targets", "steps", "code_version", "experiment")}
        with reading(folder.plan):
            # What the plan's own writer wrote.
            about["arms"] = [[arm, own["label"]] for arm, own in content["arms"].items()]  # type: ignore[attr-defined]
        tags = {"sfpo_bench.kind": "comparison"}
        return RunKey(folder.uid(), str(content.get("name", folder.path.name)), _study_uid(folder, 1), tags, about)
    if (folder.path / "sweep.json").is_file():
        content = read_object(folder.path / "sweep.json")
        about = {name: content.get(name) for name in ("parameters", "goals", "search", "code_version", "experiment")}
        tags = {"sfpo_bench.kind": "sweep"}
        return RunKey(folder.uid(), str(content.get("name", folder.path.name)), _study_uid(folder, 2), tags, about)
    if not folder.config.is_file():
        return None
    with reading(folder.config):
        settings = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
        seed, algorithm = str(settings["seed"]), str(settings["algorithm"]["name"])
    tags = {"algorithm": algorithm, "seed": seed, "sfpo_bench.kind": "run"}
    above = RunFolder(folder.path.parents[2]) if len(folder.path.parents) > 2 else None
    if above is not None and (above.path / "comparison.json").is_file():
        arm = folder.path.parent.name
        return RunKey(folder.uid(), f"{arm} {folder.path.name}", above.uid(), {**tags, "arm": arm}, settings)
    if above is not None and (above.path / "sweep.json").is_file():
        trial = folder.path.parent.name
        own = {**tags, "trial": trial.removeprefix("trial-").lstrip("0") or "0"}
        return RunKey(folder.uid(), f"{trial} {folder.path.name}", above.uid(), own, settings)
    return RunKey(folder.uid(), folder.path.name, tags=tags, params=settings)


def _study_uid(folder: RunFolder, levels: int) -> str | None:
    """Who the study is that lies so many folders above; None when there is none."""
    parents = folder.path.absolute().parents
    above = parents[levels - 1] if len(parents) >= levels else None
    return RunFolder(above).uid() if above is not None and (above / STUDY_FILE).is_file() else None


class Feed(threading.Thread):
    """Delivers a comparison or a sweep and its runs while they train, and what is still missing at `close`.

    Its thread has a low priority.

    A store that is down, full, read-only or slow costs one warning and no run: delivery is tried again later, `close`
    waits for a slow store no longer than `_CLOSE_SECONDS` and the request that is under way (93 s when nothing answers
    at all), and `sfpo-bench sync` completes what is missing.
    """

    def __init__(
        self,
        delivery: Delivery,
        comparison: RunFolder,
        runs: Sequence[RunFolder],
        covered_bytes: CoveredBytes,
        warnings: StoreWarnings,
    ) -> None:
        super().__init__(name="tracking", daemon=True)
        self._delivery = delivery
        self._comparison = comparison
        self._runs = runs
        self._covered_bytes = covered_bytes
        self._warnings = warnings
        self._over = threading.Event()
        self._sent: dict[Path, tuple[int, RunState]] = {}

    def run(self) -> None:
        _low_priority()
        pause = 0.0
        while not self._over.wait(pause):
            pause = _PAUSE_SECONDS if self._try(self._pass_or_wait) else _BACK_OFF_SECONDS

    def close(self, state: RunState, artifacts: Sequence[Path]) -> None:
        """Deliver the rest, give the comparison its `state` and `artifacts`; warns instead of raising.

        `state` and `artifacts` are written down even when the store cannot be told.
        """
        self._over.set()
        self._delivery.give_up_in(_CLOSE_SECONDS)
        self.join()
        self._try(self._pass)
        self._try(lambda: self._delivery.finish(self._comparison, state, artifacts=artifacts))

    def _try(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except (BenchError, OSError) as error:
            self._warnings.tracking(error)
            return False
        return True

    def _pass_or_wait(self) -> None:
        # Several processes of one sweep deliver, and a busy machine is slow to make the store: no reason to warn.
        with suppress(DeliveredElsewhere):
            self._pass()

    def _pass(self) -> None:
        self._open(self._comparison)
        for folder in self._runs:
            state = folder.status().state
            try:
                covered = self._covered_bytes(folder)
            except CheckpointError:
                continue  # A checkpoint was replaced while it was read; the next pass sees the new one.
            if state is RunState.pending or self._sent.get(folder.path) == (covered, state):
                continue
            self._open(folder)
            self._delivery.deliver(folder, covered)
            if state not in (RunState.pending, RunState.running):
                self._delivery.finish(folder, state, cause=folder.status().cause)
            self._sent[folder.path] = (covered, state)

    def _open(self, folder: RunFolder) -> None:
        if folder.path not in self._sent:
            key = key_of(folder)
            assert key is not None
            self._delivery.open_run(folder, key)
            self._sent[folder.path] = (-1, RunState.pending)


def _low_priority() -> None:
    """Leave the cores to training: on Linux a thread has a priority of its own.

    Only root may raise it again, so a process that was started at a lower one stays there.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(10, os.getpriority(os.PRIO_PROCESS, 0)))
