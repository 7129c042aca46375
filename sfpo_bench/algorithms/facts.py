"""Facts of every method beside its settings: source, trust in the formula, and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import ClassVar

_MARK = " (unverified)"


class Facts:
    """Facts of a method, as class attributes, for tables of methods.

    `trust` is the source of the formula: `V`, the authors' code or text or a major framework's code; `T`, independent
    third parties; `?`, part of it is our reading, which `unverified` describes. `not_plain`, for objectives and their
    parts, says why the gradient at ratio 1 is not A grad log pi.
    """

    paper: ClassVar[str] = ""
    trust: ClassVar[str] = "V"
    changes: ClassVar[str] = ""
    extra_passes: ClassVar[str] = "none"
    extra_memory: ClassVar[str] = "none"
    unverified: ClassVar[str] = ""
    not_plain: ClassVar[str] = ""


def first_line(cls: type) -> str:
    """The first line of the method's docstring, and its unverified part."""
    said, reading = (cls.__doc__ or "").splitlines()[0], _reading(cls)
    return f"{said} Unverified: {reading}." if reading else said


def unverified(method: object) -> Iterator[str]:
    """The unverified parts of a method and of its nested parts: `dppo_prune: that P is ...`."""
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
    """The label of a method with unverified parts."""
    return f"{label}{_MARK}"


def unmarked(label: str) -> str:
    """The label without the mark."""
    return label.removesuffix(_MARK)


def _reading(method: object) -> str:
    return str(getattr(method, "unverified", "")) if getattr(method, "trust", "") == "?" else ""
