"""`sfpo-bench study NAME|FILE`: tunes, compares, and runs further parts of the design, resumable."""

from __future__ import annotations

import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sfpo_bench.cli.progress import say
from sfpo_bench.cli.sweep_file import tuning_file
from sfpo_bench.cli.train import check_before_torch
from sfpo_bench.experiments.study.design import StudyReport
from sfpo_bench.experiments.study.plan import Study, study_of
from sfpo_bench.results.names import check_unlike
from sfpo_bench.settings.config import from_node
from sfpo_bench.settings.overruled import SettingsReader, refuse_overruled
from sfpo_bench.settings.written import everything


def act(node: DictConfig) -> None:
    study = composed_study(node)
    _check(study)
    from sfpo_bench.experiments.study.runner import run_study

    announce(run_study(study, _print_to_stderr))


def composed_study(node: DictConfig) -> Study:
    """The checked study of the command line; raises `ConfigError`, nothing is written."""
    hydra = HydraConfig.get()
    name, overrides = str(hydra.job.config_name), list(hydra.overrides.task)
    written = everything(name, overrides)
    refuse_overruled(SettingsReader.study, written, {"threads": node.comparison.threads})
    config = from_node(node)
    refuse_overruled(SettingsReader(f"study.design={config.study.design}"), written)
    sweep = tuning_file(config.comparison.tune)
    return study_of(config, name, overrides, sweep)


def _check(study: Study) -> None:
    """Raise for missing data, models and tracking stores before training starts."""
    check_unlike(study.folder)
    check_before_torch(study.config)
    for arm in study.arms:
        own = from_node(arm.node)
        if (own.model, own.task) != (study.config.model, study.config.task):
            check_before_torch(own)
    study.design.check_inputs(study)


def announce(found: StudyReport) -> None:
    """Print the summary of a study report and the paths of its files."""
    report = found.first.read_text(encoding="utf-8").split("\n![", 1)[0]
    say(report.replace("\\", "").replace("**", "").rstrip())
    say("")
    width = max((len(word) for word in found.named), default=0) + 1
    for word, path in found.named.items():
        say(f"{word + ':':{width}} {path}")


def _print_to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
