"""`sfpo-bench doctor`: checks everything that a run needs and prints a fix for what is missing."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import DoctorSettings
from sfpo_bench.core.errors import BenchError
from sfpo_bench.core.tracking import TrackingSettings
from sfpo_bench.doctor.examination import examine
from sfpo_bench.doctor.findings import Finding, Level
from sfpo_bench.models import smollm2


def act(node: DictConfig) -> None:
    settings = verb_settings(node, DoctorSettings)
    cache = Path(settings.cache) if settings.cache else smollm2.default_cache()
    tracking = TrackingSettings(settings.store, uri=settings.uri, folder=settings.folder)
    tracking.check("")
    console = Console(soft_wrap=False)
    counts: Counter[Level] = Counter()
    for finding in examine(Path(settings.output_root), tracking, cache, os.environ):
        show(console, finding)
        counts[finding.level] += 1
    say(", ".join(f"{counts[level]} {level.value}" for level in Level))
    if counts[Level.red]:
        raise BenchError(f"red: {counts[Level.red]}; do what the fix lines say, then run `sfpo-bench doctor` again")


def show(console: Console, finding: Finding) -> None:
    """Print a finding: colored with a mark on a terminal, otherwise as plain lines."""
    if not console.is_terminal:
        say(f"{finding.level.value:6} {finding.subject:8} {finding.text}")
        if finding.fix:
            say(f"{'':15} fix: {finding.fix}")
        return
    console.print(Text.assemble((f"● {finding.subject:8} ", finding.level.value), finding.text))
    if finding.fix:
        console.print(Text(f"{'':11}fix: {finding.fix}", style="bold"))
