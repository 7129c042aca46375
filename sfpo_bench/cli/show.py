"""`sfpo-bench show RUN`: prints a step's problems, responses, extracted answers, rewards and advantages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.places import named_run
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ShowSettings
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.metric_keys import MACHINE_METRICS
from sfpo_bench.core.types import EvaluationRecord, EventRecord, SampleRecord, StepRecord
from sfpo_bench.reports.load import read_provenance
from sfpo_bench.results.journal import read_journal, read_samples
from sfpo_bench.results.run_folder import RunFolder


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ShowSettings)
    if settings.run and is_imported(RunFolder(Path(settings.run))):
        show_numbers(RunFolder(Path(settings.run)), settings.step)
        return
    folder = named_run(settings.run, "show")
    samples = read_samples(folder.samples)
    steps = sorted({sample.step for sample in samples})
    if not steps:
        raise MissingDataError(f"{folder.path} has no stored samples yet; they are stored from step 1 on")
    step = settings.step or steps[-1]
    if step not in steps:
        raise MissingDataError(
            f"step {step} of {folder.path} has no stored samples; stored are steps {', '.join(map(str, steps))} "
            "(in train, training.samples_every sets how often)"
        )
    show_step(Console(), [sample for sample in samples if sample.step == step], settings.groups)
    for line in costs_of(folder, step):
        say(line)


def costs_of(folder: RunFolder, step: int) -> list[str]:
    """Return the costs of the step as lines of text; empty if an older version did not record them."""
    records = (one for one in read_journal(folder.journal) if isinstance(one, StepRecord) and one.step == step)
    found = next((dict(record.metrics) for record in records), {})
    if not set(MACHINE_METRICS) & set(found):
        return []
    shares = ", ".join(
        f"{part} {100 * found[f'{part}_share']:.0f} %" for part in ("rollout", "grading", "update", "push")
    )
    rates = [
        f"{found[key]:,.0f} {words}"
        for key, words in (("generated_tokens_per_second", "generated"), ("trained_tokens_per_second", "trained"))
        if key in found
    ]
    memory = [
        f"{found[key] / 2**30:.2f} GiB of {words}"
        for key, words in (("device_peak_bytes", "the GPU's memory"), ("host_peak_bytes", "the host's memory"))
        if key in found
    ]
    lines = [
        f"{found['step_seconds']:.3g} s: {shares}",
        f"tokens a second and device: {' and '.join(rates)}; at most {' and '.join(memory)}",
    ]
    peak = read_provenance(folder.provenance).get("device_peak")
    if "update_flops_utilization" in found and isinstance(peak, dict):
        share, of = 100 * found["update_flops_utilization"], peak["flops_per_second"] / 1e12
        lines.append(f"update: {share:.1f} % of a peak of {of:.3g} TFLOP/s ({peak['source']})")
    return lines


def is_imported(folder: RunFolder) -> bool:
    """Return True for a run that `sfpo-bench import` wrote."""
    return not folder.config.is_file() and "imported_from" in read_provenance(folder.provenance)


def show_numbers(folder: RunFolder, wanted: int) -> None:
    """Print the metrics of one step of an imported run, whose log has no responses; step 0 means the last one."""
    records = [record for record in read_journal(folder.journal) if not isinstance(record, EventRecord)]
    steps = sorted({record.step for record in records})
    if not steps:
        raise MissingDataError(f"{folder.journal} holds no numbers; import the log again, into another name")
    step = wanted or steps[-1]
    if step not in steps:
        raise MissingDataError(f"step {step} of {folder.path} was not logged; logged are {', '.join(map(str, steps))}")
    say(f"step {step}; imported: the log holds no responses")
    for record in records:
        if record.step == step and isinstance(record, EvaluationRecord):
            say(f"  {'accuracy':30} {record.accuracy:.4g}" + (f" (n = {record.n})" if record.n else ""))
        elif record.step == step and isinstance(record, StepRecord):
            for key, value in record.metrics.items():
                say(f"  {key:30} {value:.4g}")


def show_step(console: Console, samples: Sequence[SampleRecord], groups: int) -> None:
    """Print the first `groups` groups of a step as tables. Model text is printed verbatim, never as markup."""
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
