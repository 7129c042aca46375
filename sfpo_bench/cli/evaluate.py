"""`sfpo-bench evaluate`: sample a model on a suite, keep every sample, grade, and write the scores."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sfpo_bench.cli.progress import say
from sfpo_bench.config import to_settings
from sfpo_bench.evaluation import run
from sfpo_bench.evaluation.record import Evaluation, runs_of
from sfpo_bench.evaluation.settings import EvaluateSettings
from sfpo_bench.training.stop import StopRequest


def act(node: DictConfig) -> None:
    settings = to_settings(node, EvaluateSettings)
    if settings.tracking.mlflow:
        from sfpo_bench.tracking.mlflow_store import check_tracking_uri

        check_tracking_uri(settings.tracking.uri or None, _store_folder(settings), os.environ)
    runs = runs_of(Path(settings.run)) if settings.run else []
    if not runs:
        say(_evaluate(settings))
        return
    plans = [replace(settings, run=str(place)) for place in runs]
    for one in plans:
        run.plan(one)  # what is wrong with the last one is said before the first one is evaluated
    for one in plans:
        _evaluate(one)
    say(f"{len(runs)} runs evaluated; sfpo-bench scores folders=[{settings.run}] compares their arms")


def _evaluate(settings: EvaluateSettings) -> str:
    """Evaluate one model; gives what there is to say of its scores."""
    plan = run.plan(settings)
    with _Board(plan) as board:
        found = run.evaluate(plan, StopRequest(), run.Progress(board.start, board.done))
    return _report(settings, found)


def _report(settings: EvaluateSettings, found: Evaluation) -> str:
    from sfpo_bench.evaluation.publish import delivery_of, publish

    files = publish(found, delivery_of(settings.tracking, _store_folder(settings)), say)
    text = files.markdown.read_text(encoding="utf-8").replace("\\", "").replace("**", "").rstrip()
    return f"{text}\n\nsamples: {found.folder / 'samples.parquet'}\ntable:   {files.markdown}"


def _store_folder(settings: EvaluateSettings) -> Path:
    """The folder of the embedded tracking store: that of the run, which lies below it."""
    if settings.run:
        place = Path(settings.run).absolute()
        for above in place.parents:
            if (above / "mlflow.db").is_file():
                return above
    return Path(settings.output_root)


class _Board:
    """Progress of the generation, in samples."""

    def __init__(self, plan: run.Plan) -> None:
        self._console = Console(stderr=True)
        self._name = f"{plan.owner.label} on {plan.suite.name}"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._counts = (0, 0)

    def __enter__(self) -> _Board:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, missing: int, asked: int) -> None:
        """Say what there is already."""
        self._counts = (asked - missing, asked)
        self._task = self._bar.add_task(self._name, total=asked, completed=asked - missing)
        self._say(f"{self._name}: {asked - missing} of {asked} samples are there")

    def done(self, samples: int) -> None:
        """A part of so many samples was written."""
        there, asked = self._counts
        self._counts = (there + samples, asked)
        if self._task is not None:
            self._bar.advance(self._task, samples)
        if not self._console.is_terminal:
            self._say(f"{there + samples} of {asked} samples")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)
