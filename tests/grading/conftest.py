"""One grader for the tests of a session, without a cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sfpo_bench.grading import Grader


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    with Grader(workers=1, cache_size=0) as made:
        yield made
