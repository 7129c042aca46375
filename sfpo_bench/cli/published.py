"""`sfpo-bench published [NAME]`: prints published results with the sampling error that their design implies."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import PublishedSettings
from sfpo_bench.reports.markdown import plain_text
from sfpo_bench.reports.papers.published_results import published
from sfpo_bench.reports.papers.published_tables import published_blocks, write_published


def act(node: DictConfig) -> None:
    settings = verb_settings(node, PublishedSettings)
    found = published(settings.name)
    files = write_published(found, Path(settings.out)) if settings.out else None
    say(plain_text(published_blocks(found)))
    if files:
        say("")
        for path in (files.markdown, files.html, files.latex, files.gains):
            say(f"{path.suffix.removeprefix('.')}: {path}")
