"""The version of the code that determines the numbers of a run, a sweep or a study, and of no other code.

Two processes may continue each other's work when this is the same, so it must change with every edit that can change a
number, and with no other: a report that is mended between two days of training leaves a comparison what it was. It is
the same in a checkout and in the wheel built from it.

What counts is found by imports: the modules of `_ROOTS`, every module of the package that one of them imports, at its
top or inside a function, and the data files that lie beside them. Settings do not count here, as their values are
compared with those of the folder; nor does what `NUMBER_FREE` lists.
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
    """Whose numbers: a run has those of training, a sweep also chooses trials, a study also scores checkpoints."""

    run = "run"
    sweep = "sweep"
    study = "study"


# A package stands for all of its modules: some are named by settings only, which no import shows.
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

# What work loads or imports and no number depends on: how it is asked for, shown, kept, told and spread over processes.
# Of two names that fit a module, the longer one decides; a root is never free, so that `search` counts in a sweep.
NUMBER_FREE = (
    "sfpo_bench.cli",
    "sfpo_bench.conf",
    "sfpo_bench.core.extras",
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
# Read as text: to parse the package takes a second, and this is asked for at every start. A line inside a text that
# looks like an import at worst adds a module.
_IMPORT = re.compile(
    r"^[ ]*(?:from (sfpo_bench(?:\.\w+)*) import (\([^)]*\)|[^\n]+)|import (sfpo_bench(?:\.\w+)*))", re.M
)


@cache
def code_version(work: Work = Work.run) -> str:
    """What names the code of this process: the version of the package it runs from, read once."""
    return version_of(_PACKAGE, work)


def version_of(package: Path, work: Work = Work.run) -> str:
    """sha256 over the files that determine the numbers of `work`, their names inside the package included."""
    digest = hashlib.sha256()
    for file in determining_files(work, package):
        content = (package / file).read_bytes()
        digest.update(f"{file}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def determining_files(work: Work, package: Path = _PACKAGE) -> list[str]:
    """The files that determine the numbers of `work`, by their names inside the package: `training/learner.py`."""
    free = {name for name in NUMBER_FREE if name not in _ROOTS[work]}
    found: set[str] = set()
    waiting = [module for root in _ROOTS[work] for module in _modules(root, package)]
    while waiting:
        module = waiting.pop()
        file = _file(module, package)
        # The package's own `__init__` holds public names and the number of the release.
        if file is None or file == "__init__.py" or file in found or _decides(module, free, _ROOTS[work]):
            continue
        found.add(file)
        waiting.append(module.rpartition(".")[0])  # whose `__init__` runs before it
        waiting += imported((package / file).read_text(encoding="utf-8"))
    folders = {(package / file).parent for file in found} - {package}
    data = {path for folder in folders for path in folder.rglob("*") if path.suffix in _DATA}
    return sorted(found | {path.relative_to(package).as_posix() for path in data})


def imported(text: str) -> Iterator[str]:
    """The modules of this package that a module's text imports; a name taken from a module is tried as one too."""
    for match in _IMPORT.finditer(text):
        above, names, alone = match.groups()
        yield above or alone
        for name in re.findall(r"(\w+)(?: as \w+)?", re.sub(r"#[^\n]*", "", names or "")):
            yield f"{above}.{name}"


def _decides(module: str, free: Collection[str], roots: Collection[str]) -> bool:
    """True when the longest listed name that `module` lies under is a number-free one."""
    above = [module.rsplit(".", cut)[0] for cut in range(module.count(".") + 1)]
    listed = next((name for name in above if name in free or name in roots), "")
    return listed in free


def _modules(root: str, package: Path) -> Iterator[str]:
    """The modules of `root`: itself, or, of a package, all that lie below it."""
    place = _place(root, package)
    for path in place.rglob("*.py") if place.is_dir() else ():
        yield ".".join([root, *path.relative_to(place).with_suffix("").parts]).removesuffix(".__init__")
    yield root


def _file(module: str, package: Path) -> str | None:
    """The file of a module inside the package; None for a name that is no module."""
    place = _place(module, package)
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path.relative_to(package).as_posix()
    return None


def _place(module: str, package: Path) -> Path:
    return package.joinpath(*module.split(".")[1:])
