"""`sfpo-bench report [FOLDER]`: figure and tables of a comparison, from its journals."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ReportSettings
from sfpo_bench.hydra_store import verb_settings
from sfpo_bench.reports import ReportFiles, write_report


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ReportSettings)
    out = Path(settings.out) if settings.out else None
    announce(write_report(Path(settings.folder), out, settings.baseline or None))


def announce(files: ReportFiles) -> None:
    """Say where figure and table are, and the answer itself."""
    answer = files.report.read_text(encoding="utf-8").split("\n![", 1)[0]
    say(answer.replace("\\", "").replace("**", "").rstrip())  # Markdown's marks mean nothing on a terminal.
    say("")
    say(f"figure: {files.figure_png}")
    say(f"table:  {files.report}")
