"""Which lines of the package each test runs: the tests that run a mutated line go first, the quickest of them before
the others."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest


@dataclass(slots=True)
class Reached:
    """What a test ran of each module, by line numbers, and its seconds. Lines that run in processes of their own, or
    when a module is imported, are not seen."""

    seconds: float
    lines: dict[str, list[int]]


@dataclass
class Recorder:
    """A pytest plugin: `tests` holds what each test ran of `modules` of the package in `folder`."""

    folder: Path
    modules: frozenset[str]
    tests: dict[str, Reached] = field(default_factory=dict)
    _lines: dict[str, set[int]] = field(default_factory=dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._lines, started = {}, time.monotonic()
        package = f"{self.folder / 'sfpo_bench'}{os.sep}"
        watched = {package + module: self._lines.setdefault(module, set()) for module in self.modules}

        def on_call(frame: FrameType, event: str, argument: Any) -> Any:
            lines = watched.get(frame.f_code.co_filename)
            if lines is None:
                return None

            def on_line(frame: FrameType, event: str, argument: Any) -> Any:
                lines.add(frame.f_lineno)
                return on_line

            return on_line

        sys.settrace(on_call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            lines = {module: sorted(found) for module, found in self._lines.items() if found}
            self.tests[item.nodeid] = Reached(round(time.monotonic() - started, 3), lines)


@dataclass
class InOrder:
    """A pytest plugin: tests run in this order, those that it does not name last."""

    order: Mapping[str, int]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.order.get(item.nodeid, len(self.order)))


def order_of(tests: Mapping[str, Reached], module: str, lines: range) -> dict[str, int]:
    """The place of each test in the order in which it is to run for a mutation of these lines."""

    def key(name: str) -> tuple[bool, float]:
        return not any(line in lines for line in tests[name].lines.get(module, [])), tests[name].seconds

    return {name: place for place, name in enumerate(sorted(tests, key=key))}


def lines_of(source: str, text: str) -> range:
    """The numbers of the lines of the smallest statement of `source` around `text`, without its body."""
    first = source.count("\n", 0, source.index(text)) + 1
    last = first + text.strip("\n").count("\n")
    around = range(first, last + 1)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and node.lineno <= first and last <= (node.end_lineno or node.lineno):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            around = range(
                min(node.lineno, first), max(end, last) + 1
            )  # a walk meets inner statements after outer ones
    return around
