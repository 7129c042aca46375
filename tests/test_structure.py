"""The shape of the package: imports point one way, light modules stay light, every packaged configuration composes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sfpo_bench

PACKAGE = Path(sfpo_bench.__file__).parent

# What a folder of the package may import from the others; top-level modules stand under their own name.
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "seeding": set(),
    "metric_keys": set(),
    "progress": set(),
    "options": {"errors"},
    "plugins": {"errors", "options"},
    "resources": {"errors"},
    "child_processes": {"errors"},
    "extras": set(),
    "yaml_files": {"errors"},
    "composition_errors": set(),
    "own_classes": {"algorithms", "composition_errors", "errors", "plugins", "tasks", "types"},
    "results": {"types", "errors", "resources"},
    "output_names": set(),
    "override_text": {"errors"},
    "algorithms": {"types", "errors", "options"},
    "attention": set(),
    "integrations": {"types", "algorithms"},
    "statistics": {"seeding"},
    "problem_sets": {"types", "errors", "options", "resources", "seeding", "yaml_files"},
    "grading": {"types", "errors", "child_processes", "output_names"},
    "tasks": {"types", "errors", "options", "plugins", "seeding", "grading", "problem_sets"},
    "rollout": {"types", "errors", "options", "seeding", "tasks", "attention"},
    "tracking": {"types", "errors", "metric_keys", "results"},
    "training": {
        *(
            "types",
            "errors",
            "options",
            "seeding",
            "algorithms",
            "attention",
            "grading",
            "problem_sets",
            "tasks",
            "rollout",
            "results",
        ),
    },
    "models": {"types", "errors", "options", "results", "seeding", "tasks", "training"},
    "reports": {"types", "errors", "algorithms", "results", "statistics", "search", "tracking"},
    "launcher_settings": {"options"},
    "sampling_settings": {"options", "rollout"},
    "study_settings": {"grading", "options", "problem_sets", "sampling_settings", "search"},
    "search": {"types", "errors", "options", "override_text", "seeding", "statistics"},
    "config": {
        *("composition_errors", "own_classes"),
        *("types", "errors", "options", "plugins", "algorithms", "models", "problem_sets", "rollout", "tasks"),
        *("training", "launcher_settings", "results", "search", "study_settings", "yaml_files"),
    },
    "overrides": {"setting_shapes", "composition_errors", "errors", "options", "override_text", "config"},
    "evaluation": {
        *("types", "errors", "options", "seeding", "config", "problem_sets", "tasks", "models", "rollout", "grading"),
        *(
            "content",
            "training",
            "tracking",
            "statistics",
            "reports",
            "build",
            "launcher_settings",
            "sampling_settings",
            "results",
            "progress",
            "yaml_files",
        ),
    },
    "build": {"types", "errors", "config", "models", "results", "rollout", "training"},
    "step_costs": {"errors"},
    "plan": {"algorithms", "config", "models", "rollout", "training"},
    "content": set(),
    "own_sources": {"errors", "plugins"},
    "inputs": {"content", "own_sources", "plugins"},
    "machine_faults": {"errors"},
    "setting_shapes": {"config", "errors", "options"},
    "overruled": {"config", "errors"},
    "written_settings": {"override_text", "overruled", "yaml_files"},
    "run": {"errors", "inputs", "config", "results", "rollout", "training", "build", "yaml_files"},
    "doctor": {"errors", "models", "results", "tracking"},
    "importing": {"types", "errors", "reports", "results", "tracking"},
    "launchers": {
        "errors",
        "child_processes",
        "machine_faults",
        "launcher_settings",
        "evaluation",
        "results",
        "run",
        "training",
    },
    "evaluate_in_slots": {"errors", "evaluation", "launchers", "results", "training"},
    "comparison": {
        "errors",
        "progress",
        "seeding",
        "config",
        "override_text",
        "overrides",
        "run",
        "launchers",
        "models",
        "plan",
        "results",
        "tracking",
        "training",
        "reports",
        "overruled",
        "written_settings",
    },
    "sweep": {
        *(
            "types",
            "errors",
            "progress",
            "comparison",
            "config",
            "override_text",
            "overrides",
            "run",
            "launchers",
            "models",
            "problem_sets",
            "reports",
            "results",
            "search",
            "tracking",
            "training",
            "yaml_files",
            "machine_faults",
            "overruled",
            "written_settings",
        ),
    },
    "study": {
        *("types", "errors", "models", "problem_sets", "study_settings", "config", "run", "search", "launchers"),
        "comparison",
        *(
            "sweep",
            "evaluation",
            "evaluate_in_slots",
            "override_text",
            "reports",
            "results",
            "tracking",
            "training",
            "yaml_files",
        ),
    },
}
# The command line joins everything.
TOP = {"cli", "hydra_store", "__main__", "__init__", "conf"}

HEAVY = {"torch", "transformers", "mlflow", "vllm"}
# Modules that a configuration error, `--help` or a notebook on reports must be able to import at once.
LIGHT = (
    *(
        "types",
        "errors",
        "options",
        "config",
        "hydra_store",
        "progress",
        "run",
        "plan",
        "step_costs",
        "cli",
        "reports",
        "statistics",
        "algorithms",
    ),
    *("grading", "problem_sets", "tasks", "tracking", "results", "comparison", "models", "doctor"),
    *("launchers", "sweep", "search", "study", "importing", "sampling_settings"),
    *("rollout/settings", "rollout/protocol", "rollout/vllm_environment", "rollout/vllm_backend", "training/settings"),
    *("evaluation/settings", "evaluation/run", "evaluation/share", "evaluate_in_slots"),
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
    allowed = MAY_IMPORT[here] | ({"extras"} if "errors" in MAY_IMPORT[here] else set())  # who may fail
    assert wanted - {here} <= allowed, f"{here} may import {sorted(allowed)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_light_modules_load_nothing_heavy(path: Path) -> None:
    name = path.relative_to(PACKAGE).with_suffix("").as_posix()
    if not name.startswith(LIGHT):
        return
    heavy = {module.split(".")[0] for module, at_import in imports(path) if at_import} & HEAVY
    assert not heavy


def test_no_module_is_a_drawer_for_everything() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "common", "helpers", "manager", "misc")]
