"""Hashes of the code that determines the numbers of a run, a sweep or a study.

Work may be resumed only if this hash is unchanged. It must therefore change with every edit that can change a number,
and with no other: an edited report must not invalidate a half-trained comparison. It is the same in a checkout and in
the wheel built from it.

The relevant files are found by following imports: the modules in `_ROOTS`, every module of the package that they
import, at the top or inside a function, and the data files beside them. Settings are excluded, since their values are
compared with those of the folder, and so are the modules in `NUMBER_FREE`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


class Work(StrEnum):
    """Kind of work: a run trains, a sweep also chooses trials, a study also scores checkpoints."""

    run = "run"
    sweep = "sweep"
    study = "study"


# A package stands for all of its modules, since some are imported by name from the settings.
_RUN = (
    "sfpo_bench.training",
    "sfpo_bench.rollout",
    "sfpo_bench.attention",
    "sfpo_bench.algorithms",
    "sfpo_bench.models",
    "sfpo_bench.problems",
    "sfpo_bench.grading",
    "sfpo_bench.results.journal",
)
_SWEEP = (*_RUN, "sfpo_bench.search")
_STUDY = (
    *_SWEEP,
    "sfpo_bench.evaluation",
    "sfpo_bench.results.evaluation",
    "sfpo_bench.results.sample_store",
    "sfpo_bench.statistics",
    "sfpo_bench.experiments.study.checkpoints",
    "sfpo_bench.experiments.study.frame",
)
_ROOTS = {Work.run: _RUN, Work.sweep: _SWEEP, Work.study: _STUDY}

# Modules that are imported but affect no number: command line, display, storage, tracking, scheduling.
# If two names match a module, the longer one decides. A root is never free, so `search` counts in a sweep.
NUMBER_FREE = (
    "sfpo_bench.cli",
    "sfpo_bench.conf",
    "sfpo_bench.core.extras",
    "sfpo_bench.core.file_lock",
    "sfpo_bench.core.hydra_version",
    "sfpo_bench.core.override_text",
    "sfpo_bench.core.progress",
    "sfpo_bench.evaluation",
    "sfpo_bench.evaluation.paper_rows",
    "sfpo_bench.evaluation.publish",
    "sfpo_bench.evaluation.sample_board",
    "sfpo_bench.evaluation.tables",
    "sfpo_bench.evaluation.tracked",
    "sfpo_bench.importing",
    "sfpo_bench.integrations",
    "sfpo_bench.reports",
    "sfpo_bench.results",
    "sfpo_bench.search",
    "sfpo_bench.settings.composition_errors",
    "sfpo_bench.settings.evaluation",
    "sfpo_bench.settings.launcher",
    "sfpo_bench.settings.overrides",
    "sfpo_bench.settings.overruled",
    "sfpo_bench.settings.sampling",
    "sfpo_bench.settings.search",
    "sfpo_bench.settings.shapes",
    "sfpo_bench.settings.study",
    "sfpo_bench.settings.written",
    "sfpo_bench.statistics",
    "sfpo_bench.tracking",
    "sfpo_bench.workers",
)

_DATA = frozenset({".json", ".safetensors", ".txt", ".yaml"})
# Imports are found by a regular expression, since parsing the package takes a second at every start. A line of a
# string that looks like an import at worst adds a module.
_IMPORT = re.compile(
    r"^[ ]*(?:from (sfpo_bench(?:\.\w+)*) import (\([^)]*\)|[^\n]+)|import (sfpo_bench(?:\.\w+)*))", re.M
)


@cache
def code_version(work: Work = Work.run) -> str:
    """Return the version of the package that this process runs from, computed once."""
    return version_of(_PACKAGE, work)


def version_of(package: Path, work: Work = Work.run) -> str:
    """Return the sha256 of the files that determine the numbers of `work`, including their names in the package."""
    digest = hashlib.sha256()
    for file in determining_files(work, package):
        content = (package / file).read_bytes()
        digest.update(f"{file}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def determining_files(work: Work, package: Path = _PACKAGE) -> list[str]:
    """Return the files that determine the numbers of `work`, relative to the package: `training/learner.py`."""
    free = {name for name in NUMBER_FREE if name not in _ROOTS[work]}
    found: set[str] = set()
    waiting = [module for root in _ROOTS[work] for module in _modules(root, package)]
    while waiting:
        module = waiting.pop()
        file = _file(module, package)
        # The package's `__init__` holds only public names and the release number.
        if file is None or file == "__init__.py" or file in found or _decides(module, free, _ROOTS[work]):
            continue
        found.add(file)
        waiting.append(module.rpartition(".")[0])  # its parent package is imported first
        waiting += imported((package / file).read_text(encoding="utf-8"))
    folders = {(package / file).parent for file in found} - {package}
    data = {path for folder in folders for path in folder.rglob("*") if path.suffix in _DATA}
    return sorted(found | {path.relative_to(package).as_posix() for path in data})


def imported(text: str) -> Iterator[str]:
    """Yield the modules of this package that `text` imports; imported names are included, as they may be modules."""
    for match in _IMPORT.finditer(text):
        above, names, alone = match.groups()
        yield above or alone
        for name in re.findall(r"(\w+)(?: as \w+)?", re.sub(r"#[^\n]*", "", names or "")):
            yield f"{above}.{name}"


def _decides(module: str, free: Collection[str], roots: Collection[str]) -> bool:
    """Return True if the longest listed prefix of `module` is in `free`."""
    above = [module.rsplit(".", cut)[0] for cut in range(module.count(".") + 1)]
    listed = next((name for name in above if name in free or name in roots), "")
    return listed in free


def _modules(root: str, package: Path) -> Iterator[str]:
    """Yield `root` and, if it is a package, all modules below it."""
    place = _place(root, package)
    for path in place.rglob("*.py") if place.is_dir() else ():
        yield ".".join([root, *path.relative_to(place).with_suffix("").parts]).removesuffix(".__init__")
    yield root


def _file(module: str, package: Path) -> str | None:
    """Return the file of a module relative to the package, or None if there is no such module."""
    place = _place(module, package)
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path.relative_to(package).as_posix()
    return None


def _place(module: str, package: Path) -> Path:
    return package.joinpath(*module.split(".")[1:])
