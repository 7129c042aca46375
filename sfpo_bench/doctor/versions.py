"""Compares installed versions with the declared ranges and with the tested versions."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.resources import files
from typing import TYPE_CHECKING

from sfpo_bench.doctor.findings import Finding, green, red, yellow

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Installed = Callable[[str], str | None]
_SUBJECT = "versions"


def tested_versions() -> dict[str, str]:
    """Return the tested version of each distribution by normalized name; the file is a copy of constraints.txt."""
    text = (files("sfpo_bench.doctor") / "tested_versions.txt").read_text(encoding="utf-8")
    pins = (line.split("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    return {_normal(name): pin for name, pin in pins}


def installed_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class DeclaredRequirements:
    """Requirements that the installed package declares: Python, distributions, extras."""

    python: str
    requirements: tuple[str, ...]
    extras: tuple[str, ...]


def declared() -> DeclaredRequirements | None:
    """Return the requirements in the installation's metadata, or None for a source tree on the import path."""
    try:
        about = metadata("sfpo-bench")
    except PackageNotFoundError:
        return None
    return DeclaredRequirements(
        python=str(about["Requires-Python"]),
        requirements=tuple(str(line) for line in about.get_all("Requires-Dist") or ()),
        extras=tuple(str(line) for line in about.get_all("Provides-Extra") or ()),
    )


def check_versions(
    needs: DeclaredRequirements | None, tested: dict[str, str], installed: Installed = installed_version
) -> Iterator[Finding]:
    """Yield findings on Python, on every requirement, and on the installed extras."""
    if needs is None:
        text = "sfpo_bench is on the import path but not installed, so its requirements are unknown"
        yield yellow(_SUBJECT, text, "pip install -e . -c constraints.txt")
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield red(_SUBJECT, "packaging is not installed", f"pip install packaging=={tested['packaging']}")
        return
    yield _python(needs.python)
    every = [Requirement(line) for line in needs.requirements]
    base = [need for need in every if need.marker is None or need.marker.evaluate({"extra": ""})]
    faults = [finding for need in base for finding in _requirement(need, tested, installed)]
    yield from faults
    if not faults:
        shown = ", ".join(f"{need.name} {installed(need.name)}" for need in base)
        yield green(_SUBJECT, f"{len(base)} packages as tested: {shown}")
    for extra in needs.extras:
        own = [need for need in every if need.marker and need.marker.evaluate({"extra": extra}) and need not in base]
        yield _extra(extra, own, tested, installed)


def _python(wanted: str) -> Finding:
    from packaging.specifiers import SpecifierSet

    found = platform.python_version()
    if SpecifierSet(wanted).contains(found, prereleases=True):
        return green("python", f"Python {found} on {platform.system()} {platform.machine()}")
    return red("python", f"Python {found}, expected {wanted}", "make an environment with Python 3.11, 3.12 or 3.13")


def _requirement(need: Requirement, tested: dict[str, str], installed: Installed) -> list[Finding]:
    """Return no finding for the tested version; local builds (`2.13.0+cpu`) count as that version."""
    found, wanted = installed(need.name), tested.get(_normal(need.name))
    fix = f"pip install {install_line([need], tested)}"
    if found is None:
        return [red(_SUBJECT, f"{need.name} is not installed", fix)]
    if not need.specifier.contains(found, prereleases=True):
        return [red(_SUBJECT, f"{need.name} {found} is outside {need.specifier}", fix)]
    if wanted is not None and found.split("+")[0] != wanted:
        return [yellow(_SUBJECT, f"{need.name} {found} is in range, but {wanted} was tested", fix)]
    return []


def _extra(name: str, needs: Sequence[Requirement], tested: dict[str, str], installed: Installed) -> Finding:
    missing = [need for need in needs if installed(need.name) is None]
    if not missing:
        return green("extras", f"{name} is installed")
    return green("extras", f"{name} is not installed; to have it: pip install {install_line(missing, tested)}")


def install_line(needs: Sequence[Requirement], tested: dict[str, str]) -> str:
    """Return pip's arguments for the tested versions, quoted for a shell if needed."""
    return " ".join(_pinned(need, tested) for need in needs)


def _pinned(need: Requirement, tested: dict[str, str]) -> str:
    extras = f"[{','.join(sorted(need.extras))}]" if need.extras else ""
    pin = tested.get(_normal(need.name))
    text = f"{need.name}{extras}=={pin}" if pin else f"{need.name}{extras}{need.specifier}"
    return text if not extras and pin else f"'{text}'"


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
