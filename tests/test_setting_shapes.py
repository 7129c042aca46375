"""A value of the wrong shape is told in plain words, wherever it was written: found, expected, what to write."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sfpo_bench.cli.hydra_store import VERB_SETTINGS, schema_of
from sfpo_bench.cli.user_file import hydra_arguments
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import settings
from sfpo_bench.core.override_text import parse_overrides
from sfpo_bench.settings.config import KINDS, OPEN, RunConfig
from sfpo_bench.settings.overrides import TOP_GROUPS, check_shapes
from tests.in_process import sfpo_bench

JARGON = re.compile(r"subclass|DictConfig|ListConfig|Optional|Dict\[|object_type|AnyNode|NoneType|Settings")
WRONG = {
    "foo.png": "a text (foo.png)",
    "3": "a number (3)",
    "true": "true or false (True)",
    "[a,b]": "a list (a, b)",
    "null": "null",
}


def groups(verb: str) -> list[str]:
    """Every key of the verb that holds further settings, or names of the user's."""
    node = schema_of(verb)()
    found = [one.key for one in settings(node) if dataclasses.is_dataclass(one.value) or isinstance(one.value, dict)]
    if verb == "compare":
        found += [*KINDS, *(f"{holder}.{name}.mine" for holder, name, _ in OPEN)]
    return found


@pytest.mark.parametrize(("verb", "key"), [(v, k) for v in ("compare", "evaluate", *VERB_SETTINGS) for k in groups(v)])
def test_a_group_is_no_text_number_list_or_null(verb: str, key: str) -> None:
    for value, found in WRONG.items():
        if key in TOP_GROUPS and value == "foo.png":
            continue  # Hydra looks for a group of this name, and lists those that there are
        with pytest.raises(ConfigError) as caught:
            check_shapes(parse_overrides([f"{key}={value}"]), schema_of(verb)())
        message = str(caught.value)
        assert message.startswith(f"{key}={value}: {key} is {found}, expected a group of settings: write ")
        assert not JARGON.search(message), message


def test_lists_and_single_values_are_no_other_shapes_either() -> None:
    for override, message in {
        "comparison.targets=0.5": "comparison.targets is a number (0.5), expected a list: write comparison.targets=[",
        "comparison.targets={a: 1}": "is a mapping (a), expected a list",
        "training.steps=[3]": "training.steps is a list (3), expected one value: write training.steps=VALUE (",
        "training.steps=null": "is null, expected one value",
        "learner.recompute_layers=7": "is a number (7), expected true or false",
        "training={steps: {a: 1}}": "training.steps is a mapping (a), expected one value",
        "comparison.arms.mine={overrides: x}": "comparison.arms.mine.overrides is a text (x), expected a list",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(message)):
            check_shapes(parse_overrides([override]), RunConfig())
    right = [
        "comparison.targets=[0.5]",
        "training={steps: 3}",
        "learner=adamw",
        "model=hf",
        "task.options={}",
        "comparison.arms.mine={}",
    ]
    check_shapes(
        parse_overrides([*right, "comparison.arms.mine={overrides: ['a=1']}", "task.options={a: [1]}"]), RunConfig()
    )


def test_an_empty_mapping_that_would_change_nothing_is_refused(tmp_path: Path) -> None:
    """Mappings are merged: `comparison.arms={}` would train every arm that it seems to remove."""
    for key in ("comparison.arms", "study.reposition.conditions", "sweep.parameters"):
        with pytest.raises(ConfigError, match=f"{key} is an empty mapping, .* changes nothing: remove .* ~{key}.NAME"):
            check_shapes(parse_overrides([f"{key}={{}}"]), RunConfig())
    for override in ("training={}", "learner={}", "comparison={arms: {}}", "algorithm.phases={}"):
        with pytest.raises(ConfigError, match=r"is an empty mapping, .* changes nothing"):
            check_shapes(parse_overrides([override]), RunConfig())
    (tmp_path / "mine.yaml").write_text("defaults: [compare, _self_]\ncomparison:\n  arms: {}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: comparison\.arms is an empty mapping"):
        hydra_arguments(tmp_path / "mine.yaml", "compare")


@pytest.mark.parametrize("key", [key for key in groups("compare") if not key.startswith("algorithm.")])
def test_in_a_file_too(key: str, tmp_path: Path) -> None:
    content = OmegaConf.create({"defaults": ["compare", "_self_"]})
    OmegaConf.update(content, key, 3)
    (tmp_path / "mine.yaml").write_text(OmegaConf.to_yaml(content))
    with pytest.raises(ConfigError) as caught:
        hydra_arguments(tmp_path / "mine.yaml", "compare")
    assert f"mine.yaml: {key} is a number (3), expected a group of settings" in str(caught.value)
    assert not JARGON.search(str(caught.value))


def test_the_command_line_and_an_arm_say_it(tmp_path: Path) -> None:
    for call in (("comparison=foo.png",), ("comparison.arms.grpo.overrides=['learner=3']",)):
        done = sfpo_bench(tmp_path, "compare", *call)
        assert done.code == 2 and "expected a group of settings" in done.err, done
