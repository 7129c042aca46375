"""The list of `make mutants` speaks of the code as it is; the run itself takes minutes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.mutants.listed import ROOT, listed
from tests.mutants.reached import Reached, lines_of, order_of


def test_every_mutation_is_a_wrong_version_of_its_module_and_its_tests_are_there() -> None:
    mutations = listed()
    assert len(mutations) >= 100
    for one in mutations:
        one.applied(one.source(ROOT))
        assert one.tests and all((ROOT / test).is_file() for test in one.tests), one.name
    assert len(Counter(one.module for one in mutations)) >= 15


def test_a_text_that_is_not_there_and_a_change_of_nothing_are_refused() -> None:
    [first, *_] = listed()
    with pytest.raises(ValueError, match="stands 0 times"):
        first.applied("x = 1\n")
    same = replace(first, right="x = 1", wrong="x  =  1")
    with pytest.raises(ValueError, match="changes nothing"):
        same.applied("x = 1\n")


def test_the_lines_of_a_mutation_are_those_of_its_statement_without_its_body() -> None:
    source = "x = 1\n\ndef f(a,\n      b):\n    if a > b:\n        return (a +\n                b)\n    return b\n"
    assert [list(lines_of(source, text)) for text in ("x = 1", "b):", "a > b", "                b)", "a > b:\n")] == [
        [1],
        [3, 4],
        [5],
        [6, 7],
        [5],
    ]


def test_tests_that_run_the_mutated_lines_come_first_and_the_quickest_of_them_before_the_others() -> None:
    tests = {
        "elsewhere": Reached(0.1, {"m.py": [1], "n.py": [5]}),
        "slow": Reached(2.0, {"m.py": [4, 5]}),
        "unseen": Reached(0.3, {}),
        "quick": Reached(0.2, {"m.py": [5]}),
    }
    order = order_of(tests, "m.py", range(5, 7))
    assert sorted(order, key=order.__getitem__) == ["quick", "slow", "elsewhere", "unseen"]
