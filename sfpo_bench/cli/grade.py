"""`sfpo-bench grade ANSWERS GRADES`: grades a file of answers and prints a summary."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say_beside
from sfpo_bench.cli.settings import GradeSettings
from sfpo_bench.grading import Grader, Pair
from sfpo_bench.grading.lines import grade_file


def act(node: DictConfig) -> None:
    settings = verb_settings(node, GradeSettings)
    default = Pair("", "", settings.tolerance, settings.relative_tolerance)
    with Grader(
        workers=settings.workers,
        deadline_s=settings.grading_seconds,
        memory_bytes=settings.memory_mib * 2**20,
    ) as grader:
        summary = grade_file(Path(settings.answers), Path(settings.grades), grader, default)
    say_beside(Path(settings.grades), f"{summary.text()}\ngrades: {settings.grades}")
