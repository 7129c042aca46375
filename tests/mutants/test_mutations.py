"""The list of `make mutants` speaks of the code as it is; the run itself takes minutes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.mutants.listed import ROOT, listed


def test_every_mutation_is_a_wrong_version_of_its_module_and_its_tests_are_there() -> None:
    mutations = listed()
    assert len(mutations) >= 100
    for one in mutations:
        compile(one.applied(one.source(ROOT)), one.module, "exec")
        assert one.tests and all((ROOT / test).is_file() for test in one.tests), one.name
    assert len(Counter(one.module for one in mutations)) >= 15


def test_a_text_that_is_not_there_and_a_change_of_nothing_are_refused() -> None:
    [first, *_] = listed()
    with pytest.raises(ValueError, match="stands 0 times"):
        first.applied("x = 1\n")
    same = replace(first, right="x = 1", wrong="x  =  1")
    with pytest.raises(ValueError, match="changes nothing"):
        same.applied("x = 1\n")
