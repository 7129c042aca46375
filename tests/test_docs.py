"""The documentation is true: its examples run, the files it names exist, the commands it shows parse."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sfpo_bench.algorithms.advantages import AdvantageScale
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.protocols import Loss, Moments
from sfpo_bench.algorithms.update_rules import OnePass, Repeat
from sfpo_bench.cli.usage import POSITIONAL, VERBS
from sfpo_bench.options import check_ranges, option
from tests.training.test_learner import ADAMW, largest_difference, learn, same_bits

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", *ROOT.glob("*/README.md")])


def examples() -> dict[str, Any]:
    """The classes defined in docs/extending.md."""
    names: dict[str, Any] = {
        "dataclass": dataclass,
        "option": option,
        "Loss": Loss,
        "OnePass": OnePass,
        "Moments": Moments,
        "__name__": __name__,
    }
    for block in blocks():
        exec(block, names)
    return names


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL)


def test_an_objective_and_an_update_rule_of_ones_own_take_less_than_forty_lines_each() -> None:
    assert [len(block.splitlines()) < 40 for block in blocks()] == [True, True]


def test_the_objective_of_the_page_is_grpos_first_pass_without_scaling() -> None:
    """At ratio 1 every policy-gradient objective has the same gradient."""
    plain = Clipped(advantage_scale=AdvantageScale.none)
    example = examples()["Reinforce"]()
    assert (
        largest_difference(
            learn(OnePass(), objective=example, **ADAMW)[0], learn(OnePass(), objective=plain, **ADAMW)[0]
        )
        < 1e-12
    )


def test_the_update_rule_of_the_page_is_repeat_at_first_and_one_pass_in_the_end() -> None:
    rule = examples()["Fading"]
    check_ranges(rule())
    assert same_bits(learn(rule(passes=3), steps=1, **ADAMW)[0], learn(Repeat(passes=4), steps=1, **ADAMW)[0])
    _, stages = learn(rule(passes=2, fade_steps=2), steps=4, **ADAMW)
    assert [len(step) for step in stages] == [3, 3, 1, 1]


def test_the_update_rule_of_the_page_remembers_through_its_state_how_far_it_has_faded() -> None:
    rule = examples()["Fading"]
    faded, taken_up = rule(fade_steps=2), rule(fade_steps=2)
    learn(faded, steps=2, **ADAMW)
    taken_up.restore(faded.state())
    assert same_bits(learn(taken_up, **ADAMW)[0], learn(OnePass(), **ADAMW)[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"`((?:sfpo_bench|tests|docs|sweeps|benchmarks|evaluations|notebooks)/[\w./-]*)`", text))
    linked = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in linked if not (page.parent / link).exists()]
    assert not missing


def commands() -> list[str]:
    """Every sfpo-bench command line in a code block of a page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip().startswith("sfpo-bench "):
                    found.append(re.split(r"\s#", line.strip())[0].strip())
    return found


@pytest.mark.parametrize("line", commands())
def test_every_command_shown_is_a_verb_with_overrides_that_parse(line: str) -> None:
    _, verb, *rest = line.replace('"', "").split()
    assert verb in VERBS
    overrides = [word for word in rest if not word.startswith("-")]
    for _ in (*POSITIONAL.get(verb, ()), *(["name"] if verb in ("compare", "sweep", "study") else [])):
        if overrides and "=" not in overrides[0]:
            overrides = overrides[1:]
    OverridesParser.create().parse_overrides(overrides)
