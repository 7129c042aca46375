"""Keys of run folders in MLflow, and the thread that delivers runs while they train."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import BenchError, CheckpointError, DeliveredElsewhere
from sfpo_bench.core.yaml_files import plain_yaml
from sfpo_bench.results.codec import to_plain
from sfpo_bench.results.comparison import ComparisonFolder, ComparisonPlan
from sfpo_bench.results.containers import container_at, container_of, study_of
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.results.stored_files import reading
from sfpo_bench.results.study import StudyFolder, StudyPlan
from sfpo_bench.results.sweep import SweepFolder, SweepPlan
from sfpo_bench.tracking.delivery import Delivery, RunKey
from sfpo_bench.tracking.store_warnings import StoreWarnings

CoveredBytes = Callable[[RunFolder], int]
# Fields of a plan that are stored as parameters.
_ABOUT_COMPARISON = ("baseline", "targets", "steps", "code_version", "experiment")
_ABOUT_SWEEP = ("parameters", "goals", "search", "code_version", "experiment")
_ABOUT_STUDY = tuple(one.name for one in fields(StudyPlan) if one.name != "schema_version")
_PAUSE_SECONDS = 3.0
_BACK_OFF_SECONDS = 30.0
_CLOSE_SECONDS = 60.0


def key_of(folder: RunFolder) -> RunKey | None:
    """Return the key of a run, comparison, sweep or study in the tracking store; None for any other folder.

    A run inside a comparison or a sweep is a child of that comparison's or sweep's run, which inside a study is a child
    of the study's run.
    """
    match container_at(folder.path):
        case StudyFolder() as study:
            return _key(folder, "study", study.plan(), None, _ABOUT_STUDY)
        case ComparisonFolder() as comparison:
            plan = comparison.plan()
            key = _key(folder, "comparison", plan, study_of(comparison), _ABOUT_COMPARISON)
            arms = [[arm, own.label] for arm, own in plan.arms.items()]
            return replace(key, params={**key.params, "arms": arms})
        case SweepFolder() as sweep:
            return _key(folder, "sweep", sweep.plan(), study_of(sweep), _ABOUT_SWEEP)
    return _key_of_run(folder) if folder.config.is_file() else None


def _key(
    folder: RunFolder,
    kind: str,
    plan: StudyPlan | ComparisonPlan | SweepPlan,
    study: StudyFolder | None,
    about: Sequence[str],
) -> RunKey:
    parent = RunFolder(study.path).uid() if study is not None else None
    params = {name: to_plain(getattr(plan, name)) for name in about}
    return RunKey(folder.uid(), plan.name, parent, {"sfpo_bench.kind": kind}, params)


def _key_of_run(folder: RunFolder) -> RunKey:
    with reading(folder.config):
        settings: Any = plain_yaml(folder.config)
        seed, algorithm = str(settings["seed"]), str(settings["algorithm"]["name"])
    tags = {"algorithm": algorithm, "seed": seed, "sfpo_bench.kind": "run"}
    above, own = container_of(folder), folder.path.parent.name
    if isinstance(above, ComparisonFolder):
        tags["arm"] = own
    elif isinstance(above, SweepFolder):
        tags["trial"] = own.removeprefix("trial-").lstrip("0") or "0"
    else:
        return RunKey(folder.uid(), folder.path.name, tags=tags, params=settings)
    return RunKey(folder.uid(), f"{own} {folder.path.name}", RunFolder(above.path).uid(), tags, settings)


class Feed(threading.Thread):
    """A low-priority thread that delivers a comparison or a sweep and its runs while they train.

    `close` delivers the rest. A store that is down, full, read-only or slow causes one warning and never fails a run:
    delivery is retried later, `close` waits at most `_CLOSE_SECONDS` plus the request in progress (93 s if the store
    does not respond at all), and `sfpo-bench sync` delivers what is missing.
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
        """Deliver the rest, and set the comparison's `state` and `artifacts`; warns instead of raising.

        `state` and `artifacts` are saved even if the store does not respond.
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
        # Another process of the sweep is delivering, or a busy machine is slow to create the store; do not warn.
        with suppress(DeliveredElsewhere):
            self._pass()

    def _pass(self) -> None:
        self._open(self._comparison)
        for folder in self._runs:
            state = folder.status().state
            try:
                covered = self._covered_bytes(folder)
            except CheckpointError:
                continue  # a checkpoint was replaced while it was read; the next pass reads the new one
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
    """Lower the priority of the calling thread (Linux) so that it does not slow down training.

    Only root can raise a priority, so a lower priority of the process is kept.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(10, os.getpriority(os.PRIO_PROCESS, 0)))
