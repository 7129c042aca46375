"""The shape of the package: imports point one way, light modules stay light, every packaged configuration composes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sfpo_bench

PACKAGE = Path(sfpo_bench.__file__).parent

# What a folder of the package may import from the others; top-level modules stand under their own name.
MAY_IMPORT = {
    "core": set(),
    "attention": set(),
    "statistics": {"core"},
    "results": {"core"},
    "algorithms": {"core"},
    "integrations": {"algorithms"},
    "grading": {"core"},
    "problems": {"core", "grading"},
    "settings": {"core", "algorithms", "grading", "problems", "results"},
    "models": {"core", "problems", "results", "settings"},
    "search": {"core", "settings", "statistics"},
    "rollout": {"core", "attention", "problems", "settings"},
    "tracking": {"core", "results"},
    "doctor": {"core", "models", "results", "tracking"},
    "training": {
        *("core", "algorithms", "attention", "grading", "models"),
        *("problems", "results", "rollout", "settings"),
    },
    "reports": {"core", "algorithms", "results", "search", "settings", "statistics", "tracking"},
    "importing": {"core", "reports", "results", "tracking"},
    "evaluation": {
        *("core", "grading", "models", "problems", "reports", "results"),
        *("rollout", "settings", "statistics", "tracking", "training", "workers"),
    },
    "workers": {"core", "results", "settings"},
    "experiments": {
        *("core", "evaluation", "models", "problems", "reports"),
        *("results", "search", "settings", "tracking", "training", "workers"),
    },
}
# The command line joins everything.
TOP = {"cli", "__main__", "__init__", "conf"}

HEAVY = {"torch", "transformers", "mlflow", "vllm"}
# Modules that a configuration error, `--help` or a notebook on reports must be able to import at once.
LIGHT = (
    *("core", "settings", "algorithms", "statistics", "grading", "problems", "models", "search"),
    *("results", "tracking", "doctor", "importing"),
    *("reports", "workers", "experiments", "cli", "training/run", "training/inputs"),
    *("rollout/protocol", "rollout/vllm_environment", "rollout/vllm_backend", "evaluation/run", "evaluation/share"),
)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute import of a file, and whether it runs when the file is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node, at_import in _walk(tree, True):
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, at_import


def _walk(node: ast.AST, at_import: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        runs = at_import and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child, runs
        yield from _walk(child, runs)


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    here = place(path)
    if here in TOP:
        return
    wanted = {name.split(".")[1] for name, _ in imports(path) if name.startswith("sfpo_bench.")}
    allowed = MAY_IMPORT[here]
    assert wanted - {here} <= allowed, f"{here} may import {sorted(allowed)}"


def test_the_parts_stand_in_one_order() -> None:
    assert list(TopologicalSorter(MAY_IMPORT).static_order())  # raises CycleError where two parts may import each other


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_light_modules_load_nothing_heavy(path: Path) -> None:
    name = path.relative_to(PACKAGE).with_suffix("").as_posix()
    if not name.startswith(LIGHT):
        return
    heavy = {module.split(".")[0] for module, at_import in imports(path) if at_import} & HEAVY
    assert not heavy


def test_no_module_is_a_drawer_for_everything() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "common", "helpers", "manager", "misc")]
