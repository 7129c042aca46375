"""The files of a user's own code: the module of a class, that in which the class is defined, and what these import of
their own package."""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from sfpo_bench.core.errors import BenchError
from sfpo_bench.core.plugins import find, folders_last

_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("purelib", "platlib", "stdlib"))


def own_sources(name: str, beside: Path | None = None) -> Mapping[str, Path]:
    """The files that `module:attribute` is made of, by the names of their modules, that of `name` first; found as
    `plugins.find` finds it. Empty where there are none.

    Imports are read from the sources, those within functions too; the module in which the object says that it was
    defined is added, however it got from there to `module`. What belongs to other packages is none of them.
    """
    module = name.partition(":")[0]
    found: dict[str, Path] = {}
    with folders_last(beside):
        waiting = [module, *_defined_in(name, beside)]
        while waiting:
            wanted = waiting.pop(0)
            file = _file_of(wanted) if wanted not in found and _is_own(wanted, module) else None
            if file is None:
                continue
            found[wanted] = file
            waiting += [wanted.rpartition(".")[0], *_imported(wanted, file)]
    return found


def _defined_in(name: str, beside: Path | None) -> list[str]:
    """The module in which the object was defined, if it can be had."""
    try:
        defined = getattr(find(name, "", beside), "__module__", None)
    except BenchError:  # told where the object is made
        return []
    return [defined] if isinstance(defined, str) else []


def _file_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module) if module else None
    except (ImportError, ValueError):
        return None
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin and origin.endswith(".py") and Path(origin).is_file() else None


def _is_own(module: str, first: str) -> bool:
    """True for what is of the package of `first`, or lies beside it where that is no package and not installed."""
    top, first_top = module.partition(".")[0], first.partition(".")[0]
    if top == first_top:
        return True
    # Only packages as a whole are looked for: to find a module in one, Python imports it.
    file, root = _file_of(top), _file_of(first_top)
    if file is None or root is None or root.name == "__init__.py" or str(root).startswith(_INSTALLED):
        return False
    return file.is_relative_to(root.parent) and not str(file).startswith(_INSTALLED)


def _imported(module: str, file: Path) -> Iterator[str]:
    """The names of the modules that a file imports; some of `from a import b` are none."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # told where the module is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (source, *(f"{source}.{alias.name}" for alias in node.names))
