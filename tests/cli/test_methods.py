"""`sfpo-bench methods` says of every registered part of an algorithm what its class says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sfpo_bench import option
from sfpo_bench.cli.methods import Method, choice, methods
from sfpo_bench.core.plugins import Custom
from sfpo_bench.settings.config import KINDS
from tests.in_process import sfpo_bench
from tests.methods.preset_runs import composed


def of(group: str, kind: str) -> Method:
    [found] = [method for method in methods() if (method.group, method.kind) == (group, kind)]
    return found


def test_every_registered_part_of_an_algorithm_is_there_once() -> None:
    parts = {key: kinds for key, kinds in KINDS.items() if key.startswith("algorithm.")}
    registered = [
        (key.removeprefix("algorithm.").replace(".", "/"), kind)
        for key, kinds in parts.items()
        for kind, cls in kinds.items()
        if cls is not Custom
    ]
    assert sorted((method.group, method.kind) for method in methods()) == sorted(registered)
    assert {"objective", "update_rule", "update_rule/trigger"} <= {group for group, _ in registered}


def test_passes_and_copies_are_those_that_a_rule_plans_with() -> None:
    sfpo, repeat, one = (of("update_rule", kind) for kind in ("slow_fast", "repeat", "one_pass"))
    assert (sfpo.extra_passes, sfpo.extra_memory) == ("3", "1 x the trained weights")
    assert (repeat.extra_passes, repeat.extra_memory) == ("3", "none")
    assert (one.extra_passes, one.extra_memory) == ("none", "none")
    assert sfpo.paper == "arXiv:2510.04072" and sfpo.trust == "verified"


def test_a_new_member_needs_no_entry_but_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Guess:
        """Divides by the square of the length."""

        kind: str = option("guess", "name of the objective")

        paper = "2601.00001"
        trust = "?"
        unverified = "whether padding counts"
        extra_passes = "1, forward only"

    monkeypatch.setitem(KINDS["algorithm.objective"], "guess", Guess)
    found = of("objective", "guess")
    assert found.changes == "Divides by the square of the length." and found.paper == "arXiv:2601.00001"
    assert found.trust == "unverified: whether padding counts"
    assert (found.extra_passes, found.extra_memory) == ("1, forward only", "none")


def test_the_verb_prints_one_group_or_all_and_refuses_another(tmp_path: Path) -> None:
    rules = sfpo_bench(tmp_path, "methods", "update_rule")
    assert rules.code == 0 and "slow_fast" in rules.out and "clipped" not in rules.out
    every = sfpo_bench(tmp_path, "methods").out
    assert all(f"  {method.kind} " in every and method.changes in every for method in methods())
    refused = sfpo_bench(tmp_path, "methods", "of=rules")
    assert refused.code == 2 and "of = 'rules'" in refused.err and "update_rule" in refused.err


def test_what_a_method_adds_is_what_plans_are_made_of_unless_its_class_says_more() -> None:
    """No method whose step takes more passes, rounds or weights says that it takes none."""
    for found in methods():
        cls = KINDS[f"algorithm.{found.group.replace('/', '.')}"][found.kind]
        one = cls()
        if getattr(one, "uses_statistics", False) or getattr(one, "most_rounds", 1) > 1 or getattr(one, "names", ()):
            assert found.extra_passes != "none", found
        if getattr(one, "moves", False) or getattr(one, "follower", None) is not None or getattr(one, "names", ()):
            assert found.extra_memory != "none", found


@pytest.mark.parametrize("group", sorted({method.group for method in methods() if "/" in method.group}))
def test_a_part_inside_another_is_chosen_as_the_verb_says(group: str) -> None:
    kinds = KINDS[f"algorithm.{group.replace('/', '.')}"]
    preset = "sfpo" if group.startswith("update_rule") else "grpo"
    plus = "" if preset == "sfpo" else "+"  # of these two presets the first alone has one
    for kind in kinds:
        key, _, _ = choice(group).partition("=")
        node = composed(f"algorithm={preset}", f"{plus}{key}={kind}")
        outer, inner = group.split("/")
        assert node.algorithm[outer][inner].kind == kind
