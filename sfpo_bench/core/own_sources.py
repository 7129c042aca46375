"""Finds the source files of user code: a class's module, its defining module, and their imports in their package."""

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
    """The source files of `module:attribute` by module name, that of `name` first; empty if there are none.

    Modules are found as `plugins.find` does. Imports are read from the sources, also within functions. The module that
    defines the object is included even if `module` does not import it directly. Files of other packages are left out.
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
    """The module that defines the object, if it can be imported."""
    try:
        defined = getattr(find(name, "", beside), "__module__", None)
    except BenchError:  # reported where the object is created
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
    """True for modules of the package of `first`, or beside it when `first` is a plain module that is not installed."""
    top, first_top = module.partition(".")[0], first.partition(".")[0]
    if top == first_top:
        return True
    # Only top-level names are looked up, since finding a submodule imports its package.
    file, root = _file_of(top), _file_of(first_top)
    if file is None or root is None or root.name == "__init__.py" or str(root).startswith(_INSTALLED):
        return False
    return file.is_relative_to(root.parent) and not str(file).startswith(_INSTALLED)


def _imported(module: str, file: Path) -> Iterator[str]:
    """Names that a file may import as modules; for `from a import b` both `a` and `a.b`."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # reported where the module is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (source, *(f"{source}.{alias.name}" for alias in node.names))
