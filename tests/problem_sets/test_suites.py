"""Choosing needs a suite for choosing, or the name of another in so many words."""

from __future__ import annotations

import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.problems.sets import Role, choice_on, known_sets, suite


def test_choosing_on_a_suite_for_choosing_is_free() -> None:
    assert not choice_on("select").on_report


@pytest.mark.parametrize(
    "name", [*(n for n in known_sets("suites") if suite(n).role is Role.report), "math500", "aime24"]
)
def test_choosing_on_a_suite_for_reporting_is_refused_unless_asked_for_by_its_name(name: str) -> None:
    for asked in ("", "true", "select", "all"):
        with pytest.raises(
            ConfigError, match=f"{name} is a suite for reporting.*Choose on .*select.*allow_report={name}"
        ):
            choice_on(name, asked)
    allowed = choice_on(name, name)
    assert allowed.on_report and name in allowed.note and "too high" in allowed.note
