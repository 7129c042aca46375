"""A setting that a verb overrules or does not read is refused there, wherever it was written, with what sets it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.overruled import (
    OVERRULED,
    SettingsReader,
    Written,
    common_settings,
    own_settings,
    refuse_overruled,
)
from sfpo_bench.settings.study import DesignName, StudySettings
from tests.in_process import Done, sfpo_bench

SPACE = "{rate: {key: learner.learning_rate, kind: log, low: 1e-4, high: 2e-4, points: 2}}"
SWEEP = f"defaults: [train, _self_]\nname: s\nsweep: {{sampler: grid, trials: 0, parameters: {SPACE}}}\n"
COMPARISON = "defaults: [compare, _self_]\nname: c\n"
STUDY = "defaults: [study, override study: arithmetic, _self_]\nname: s\n"
# A value of the key's own type, so that nothing but the table refuses it.
VALUES: dict[str, object] = {
    "seed": 3, "run_name": "mine", "threads": 3, "name": "mine", "description": "mine", "output_root": "there",
    "training.steps": 3, "comparison": {"seeds": 3}, "sweep": {"seeds": 3}, "study": {"model": "mine"},
    "tracking": {"experiment": "mine"}, "launcher": {"gpus_per_run": 1}, "sweep.slots": 3, "device": "cpu",
    "training.stop_at": {"accuracy": 0.5},
    **{key: {"kind": "custom"} for key in ("algorithm", "model", "task", "rollout", "learner", "training")},
}  # fmt: skip
VERBS = (
    SettingsReader.train,
    SettingsReader.compare,
    SettingsReader.sweep,
    SettingsReader.budgeted_sweep,
    SettingsReader.study,
)


def entries(*readers: SettingsReader) -> list[tuple[SettingsReader, str]]:
    return [(reader, key) for reader in readers for key in OVERRULED[reader]]


def leaf(key: str) -> tuple[str, str]:
    """One setting in the key, and the text of its value."""
    value = VALUES[key]
    while isinstance(value, dict):
        [(inner, value)] = value.items()
        key = f"{key}.{inner}"
    return key, str(value)


def nested(key: str) -> str:
    """The key with its value as YAML."""
    content = OmegaConf.create()
    OmegaConf.update(content, key, VALUES[key])
    return OmegaConf.to_yaml(content)


def refused(done: Done, key: str, reader: SettingsReader, folder: Path) -> None:
    """The key is named with what to do, and nothing was written."""
    entry = OVERRULED[reader][key]
    assert done.code == 2, done
    assert f"{leaf(key)[0]} has no effect here: {entry.reason}; {entry.advice()}" in done.err, done.err
    assert not (folder / "results").exists()


def call_of(reader: SettingsReader, folder: Path) -> list[str]:
    (folder / "own_sweep.yaml").write_text(SWEEP)
    (folder / "budget.yaml").write_text(SWEEP.replace("sweep: {", "sweep: {goals: {area: {budget: 64}}, "))
    (folder / "own_comparison.yaml").write_text(COMPARISON)
    (folder / "own_study.yaml").write_text(STUDY)
    return {
        SettingsReader.train: ["train"],
        SettingsReader.compare: ["compare", "own_comparison.yaml"],
        SettingsReader.sweep: ["sweep", "own_sweep.yaml"],
        SettingsReader.budgeted_sweep: ["sweep", "budget.yaml"],
        SettingsReader.study: ["study", "own_study.yaml"],
    }[reader]


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "key"), entries(*VERBS), ids=str)
def test_on_the_command_line(reader: SettingsReader, key: str, tmp_path: Path) -> None:
    name, value = leaf(key)
    refused(sfpo_bench(tmp_path, *call_of(reader, tmp_path), f"{name}={value}"), key, reader, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "key"), entries(*VERBS[1:]), ids=str)
def test_in_the_file_of_the_verb(reader: SettingsReader, key: str, tmp_path: Path) -> None:
    verb, file = call_of(reader, tmp_path)
    content = OmegaConf.merge(OmegaConf.load(tmp_path / file), OmegaConf.create(nested(key)))
    (tmp_path / file).write_text(OmegaConf.to_yaml(content))
    refused(sfpo_bench(tmp_path, verb, file), key, reader, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "key"), [(r, k) for r, k in entries(*VERBS[1:]) if k == "seed" or k == "threads"])
def test_in_an_experiment_of_ones_own(reader: SettingsReader, key: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    mine = tmp_path / "experiment" / "mine.yaml"
    head = "# @package _global_\ndefaults: [/experiment/arithmetic, _self_]\n"
    mine.write_text(head + nested(key))
    call = [*call_of(reader, tmp_path), "experiment=mine"]
    refused(sfpo_bench(tmp_path, *call), key, reader, tmp_path)


def test_an_experiment_may_serve_several_verbs() -> None:
    threads = Written("threads", 2, "mine.yaml", is_shared=True)
    refuse_overruled(SettingsReader.compare, [threads], {"threads": 2})
    refuse_overruled(
        SettingsReader.compare, [threads, Written("comparison.threads", 4, "comparison.threads=4")], {"threads": 4}
    )
    refuse_overruled(SettingsReader.sweep, [Written("comparison.seeds", 3, "mine.yaml", is_shared=True)])
    with pytest.raises(ConfigError, match=r"set comparison\.threads instead"):
        refuse_overruled(SettingsReader.compare, [threads], {"threads": 1})


@pytest.mark.slow
@pytest.mark.parametrize("key", OVERRULED[SettingsReader.arm])
def test_in_an_arm(key: str, tmp_path: Path) -> None:
    name, value = leaf(key)
    (tmp_path / "a.yaml").write_text(f"{COMPARISON}comparison:\n  arms: {{grpo: {{overrides: ['{name}={value}']}}}}\n")
    refused(sfpo_bench(tmp_path, "compare", "a.yaml"), key, SettingsReader.arm, tmp_path)
    if key == "seed":  # the command line writes into the same arms
        call = ("compare", f"comparison.arms.grpo.overrides=['{name}={value}']")
        refused(sfpo_bench(tmp_path, *call), key, SettingsReader.arm, tmp_path)
        refused(sfpo_bench(tmp_path, "study", "arithmetic", *call[1:]), key, SettingsReader.arm, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("key", OVERRULED[SettingsReader.parameter])
def test_as_a_parameter_of_a_search(key: str, tmp_path: Path) -> None:
    name, value = leaf(key)
    (tmp_path / "s.yaml").write_text(
        f"{SWEEP}".replace(SPACE, f"{{x: {{key: {name}, kind: categorical, choices: [1, 2]}}}}")
    )
    refused(sfpo_bench(tmp_path, "sweep", "s.yaml"), key, SettingsReader.parameter, tmp_path)
    done = sfpo_bench(tmp_path, "train", "--multirun", f"{name}={value},another")
    refused(done, key, SettingsReader.parameter, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("key", OVERRULED[SettingsReader.tuning])
def test_in_the_file_that_tunes(key: str, tmp_path: Path) -> None:
    content = OmegaConf.merge(OmegaConf.create(SWEEP), OmegaConf.create(nested(key)))
    (tmp_path / "t.yaml").write_text(OmegaConf.to_yaml(content))
    refused(sfpo_bench(tmp_path, "compare", "tune=t.yaml"), key, SettingsReader.tuning, tmp_path)


def test_one_of_each_source(tmp_path: Path) -> None:
    """The slow tests go through all keys."""
    (tmp_path / "threads.yaml").write_text(f"{COMPARISON}threads: 3\n")
    (tmp_path / "seed.yaml").write_text(f"{SWEEP}seed: 7\n")
    for call, advice in {
        ("compare", "threads=3"): "set comparison.threads instead",
        ("compare", "threads.yaml"): "set comparison.threads instead",
        ("sweep", "seed.yaml"): "set sweep.first_seed and sweep.seeds instead",
        ("compare", "comparison.arms.grpo.overrides=['training.steps=3']"): "set training.steps outside of the arms",
        ("train", "--multirun", "name=a,b"): "give it one value, outside of sweep.parameters",
        ("train", "comparison.seeds=3"): "use sfpo-bench compare, or leave it out",
    }.items():
        done = sfpo_bench(tmp_path, *call)
        assert done.code == 2 and advice in done.err, done


def test_the_fixed_settings_of_a_multirun(tmp_path: Path) -> None:
    for override, advice in {
        "seed=3": "sweep.first_seed",
        "threads=3": "sweep.threads",
        "comparison.seeds=3": "compare",
    }.items():
        done = sfpo_bench(tmp_path, "train", "--multirun", "learner.learning_rate=1e-4,2e-4", override)
        assert done.code == 2 and "has no effect" in done.err and advice in done.err, done


def test_what_runs_are_given_is_in_the_table() -> None:
    """Every value that is set for a run by its parent is refused from the user, arm by arm and point by point."""
    for reader in (SettingsReader.arm, SettingsReader.parameter):
        for given in (*own_settings(0, ""), *common_settings(1)):
            with pytest.raises(ConfigError, match="has no effect"):
                refuse_overruled(reader, [Written(given, None, given)])


@pytest.mark.parametrize("design", DesignName)
def test_a_design_of_a_study_refuses_what_only_others_read(design: DesignName) -> None:
    reader = SettingsReader(f"study.design={design}")
    sections = {"league", "reposition", "evaluation", "data", "budget_axis", "model"}
    read = {"suite": {"evaluation", "data", "budget_axis", "model"}, "league": {"league"}, "reposition": {"reposition"}}
    assert {key for key in OVERRULED[reader] if key.startswith("study.")} == {
        f"study.{name}" for name in sections - read[design]
    }
    for key in OVERRULED[reader]:
        refuse_overruled(reader, [Written(f"{key}.any", 1, "mine.yaml", is_shared=True)])
        with pytest.raises(ConfigError, match=f"{key}.any has no effect here"):
            refuse_overruled(reader, [Written(f"{key}.any", 1, "on the command line")])


def test_every_setting_of_a_study_is_read_by_some_design() -> None:
    unread = [set(OVERRULED[SettingsReader(f"study.design={design}")]) for design in DesignName]
    every = {f"study.{field.name}" for field in fields(StudySettings)}
    assert not set.intersection(*unread) & every and {key for keys in unread for key in keys} - every == {
        "comparison.arms"
    }
