"""`sfpo-bench show RUN`: a step's problems, responses, extracted answers, rewards and advantages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sfpo_bench.cli.settings import ShowSettings
from sfpo_bench.errors import MissingDataError
from sfpo_bench.hydra_store import verb_settings
from sfpo_bench.tracking.journal import read_samples
from sfpo_bench.tracking.run_folder import RunFolder
from sfpo_bench.types import SampleRecord


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ShowSettings)
    folder = RunFolder.existing(Path(settings.run))
    samples = read_samples(folder.samples)
    steps = sorted({sample.step for sample in samples})
    if not steps:
        raise MissingDataError(f"{folder.path} has no stored samples yet; they are stored from step 1 on")
    step = settings.step or steps[-1]
    if step not in steps:
        raise MissingDataError(
            f"step {step} of {folder.path} has no stored samples; stored are steps {', '.join(map(str, steps))} "
            "(training.samples_every sets how often)"
        )
    show_step(Console(), [sample for sample in samples if sample.step == step], settings.groups)


def show_step(console: Console, samples: Sequence[SampleRecord], groups: int) -> None:
    """Print the first `groups` groups of a step as tables. Model text is shown as it is, never interpreted."""
    grouped = [list(group) for _, group in groupby(samples, key=lambda sample: sample.problem_id)]
    console.print(f"step {samples[0].step}: {len(samples)} responses to {len(grouped)} problems", markup=False)
    for group in grouped[:groups]:
        console.print()
        console.print(f"{group[0].problem}    answer: {group[0].answer}", markup=False, highlight=False)
        table = Table("sample", "response", "extracted", "status", "ended", "reward", "advantage")
        for sample in group:
            table.add_row(
                str(sample.sample),
                Text(sample.response),
                Text(sample.extracted or ""),
                sample.status.value,
                sample.finish_reason.value,
                f"{sample.reward:g}",
                f"{sample.advantage:+.3f}",
            )
        console.print(table)
