"""The help of a verb lists what the verb reads, and nothing else."""

from __future__ import annotations

import dataclasses
import re

import pytest

from sfpo_bench.cli.verb_help import verb_help
from sfpo_bench.core.options import settings
from sfpo_bench.settings.config import KINDS, RunConfig
from sfpo_bench.settings.overruled import SettingsReader, overruled

OF_RUNS = ("train", "compare", "sweep", "study")


def listed(text: str) -> list[str]:
    return re.findall(r"^  ([\w.]+) = ", text, re.MULTILINE)


@pytest.mark.parametrize("verb", OF_RUNS)
def test_a_setting_is_listed_exactly_where_it_counts(verb: str) -> None:
    every = [setting for setting in settings(RunConfig()) if setting.value is not None]
    leaves = [setting.key for setting in every if not dataclasses.is_dataclass(setting.value)]
    counts = [key for key in leaves if overruled(SettingsReader(verb), key) is None]
    assert sorted(listed(verb_help(verb))) == sorted(counts) and len(counts) < len(leaves)


def test_a_section_of_another_verb_is_not_listed_nor_chosen() -> None:
    text = verb_help("train", ["launcher=slurm"])
    assert not [key for key in listed(text) if key.startswith(("comparison", "sweep", "study", "launcher"))]
    assert "learner.learning_rate" in listed(text)


@pytest.mark.parametrize(
    ("verb", "first"), [("compare", "comparison.arms"), ("sweep", "sweep.parameters"), ("study", "study.")]
)
def test_the_own_section_of_a_verb_comes_first(verb: str, first: str) -> None:
    assert listed(verb_help(verb))[0].startswith(first)


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_the_settings_of_a_kind_are_listed_when_it_is_chosen(verb: str) -> None:
    for kind, cls in KINDS["model"].items():
        own = {f"model.{field.name}" for field in dataclasses.fields(cls)}
        assert own <= set(listed(verb_help(verb, [f"model={kind}"])))
    assert not [key for key in listed(verb_help(verb)) if key.startswith("model.")]


def test_the_help_of_train_is_read_in_a_minute() -> None:
    assert len(verb_help("train").splitlines()) < 100
