"""What is said of every method beside its settings: where it comes from, how sure that is, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import ClassVar

_MARK = " (unverified)"


class Facts:
    """Facts of a method, as plain class attributes, for tables of methods.

    `trust` is how well the formula is known: `V`, read in the authors' code, their text or a major framework's code;
    `T`, stated by independent third parties; `?`, a part is our reading, and `unverified` says which. `not_plain`, of
    objectives and what stands in them, says why the gradient where every ratio is one is not A grad log pi.
    """

    paper: ClassVar[str] = ""
    trust: ClassVar[str] = "V"
    changes: ClassVar[str] = ""
    extra_passes: ClassVar[str] = "none"
    extra_memory: ClassVar[str] = "none"
    unverified: ClassVar[str] = ""
    not_plain: ClassVar[str] = ""


def first_line(cls: type) -> str:
    """What a method is, in a line, and which part of its formula is our reading."""
    said, reading = (cls.__doc__ or "").splitlines()[0], _reading(cls)
    return f"{said} Unverified: {reading}." if reading else said


def unverified(method: object) -> Iterator[str]:
    """Which parts of a method, and of what stands inside it, are our reading: `dppo_prune: that P is ...`."""
    reading = _reading(method)
    if reading:
        yield f"{getattr(method, 'kind', type(method).__name__)}: {reading}"
    if isinstance(method, Mapping):
        for inside in method.values():
            yield from unverified(inside)
    elif is_dataclass(method):
        for entry in fields(method):
            yield from unverified(getattr(method, entry.name))


def mark(label: str) -> str:
    """The label of a method that has such parts."""
    return f"{label}{_MARK}"


def unmarked(label: str) -> str:
    """The label without that mark."""
    return label.removesuffix(_MARK)


def _reading(method: object) -> str:
    return str(getattr(method, "unverified", "")) if getattr(method, "trust", "") == "?" else ""
