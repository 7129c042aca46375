"""Conversion between JSON values and typed dataclasses, checked at every level.

    from_plain(ArmSummary, raw, "arms[0]")      raises ConfigError with key, value found and type expected
    read_record(Arm, path, remedy)              reads a file; raises DamagedFile, whose message ends in the remedy
    to_json(summary)                            JSON text of a dataclass tree
    to_plain(summary)                           dicts, lists, strings, numbers, booleans and None only

Unknown keys are ignored, so that later versions may add some. A key whose field has a default may be absent.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.results.stored_files import MAKE_AGAIN, read_object, reading

T = TypeVar("T")
WRITE_AGAIN = "correct the file, or write it again with this version of sfpo_bench"


# Metadata of a field that holds a record: its fields are stored in the parent's JSON object, all of them required.
INLINE: Mapping[str, bool] = {"inline": True}


class _OtherContent(Exception):
    """A value does not match the type of its field."""


def from_plain(kind: type[T], raw: object, where: str, remedy: str = WRITE_AGAIN) -> T:
    """Convert `raw`, a value from `json.loads`, to `kind`; errors name the place `where` and end in `remedy`."""
    try:
        return typing.cast(T, _value(kind, raw, where))
    except _OtherContent as error:
        raise ConfigError(f"{error}; {remedy}") from error


def from_json(kind: type[T], text: str | bytes, where: str, remedy: str = WRITE_AGAIN) -> T:
    """Parse JSON text and convert it to `kind`; raises `ConfigError` like `from_plain`."""
    return from_plain(kind, decoded(text, where, remedy), where, remedy)


def decoded(text: str | bytes, where: str, remedy: str = WRITE_AGAIN) -> dict[str, object]:
    """Parse JSON text whose top level must be an object; raises `ConfigError`."""
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{where} holds a JSON {type(content).__name__}, expected named values; {remedy}")
    return content


def read_record(kind: type[T], path: Path, remedy: str = MAKE_AGAIN, version: int | None = None) -> T:
    """Return the record in `path`; raises `MissingDataError`, `DamagedFile`, or `ConfigError` for another `version`."""
    raw = read_object(path, remedy)
    if version is not None:
        check_version(raw, str(path), version)
    with reading(path, remedy):
        try:
            return typing.cast(T, _value(kind, raw, "it"))
        except _OtherContent as error:
            raise ValueError(str(error)) from error


def check_version(raw: object, where: str, version: int) -> None:
    """Raise `ConfigError` if `raw` has another schema version."""
    found = raw.get("schema_version") if isinstance(raw, dict) else None
    if found != version:
        raise ConfigError(
            f"{where} has schema version {found}; this version of sfpo_bench reads {version}: read it with the version "
            "that wrote it, or run the command that made it again under another name"
        )


def to_plain(value: object) -> object:
    """Return the JSON value of a dataclass tree. Non-finite numbers become the strings `inf`, `-inf` and `nan`."""
    if dataclasses.is_dataclass(value):
        plain: dict[str, object] = {}
        for field in dataclasses.fields(value):
            item = to_plain(getattr(value, field.name))
            plain |= item if _is_inline(field) and isinstance(item, dict) else {field.name: item}
        return plain
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def to_json(value: object, indent: int | None = 1) -> str:
    """Return the JSON text of a dataclass tree."""
    return json.dumps(to_plain(value), indent=indent, ensure_ascii=False)


def _value(kind: object, raw: object, where: str) -> object:
    if kind is object or kind is typing.Any:
        return raw
    if isinstance(kind, types.UnionType):
        return _optional(kind, raw, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (tuple, Sequence):
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(_listed(raw, where)))
    if origin is Mapping:
        return {key: _value(arguments[1], item, f"{where}.{key}") for key, item in _mapped(raw, where).items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _record(kind, _mapped(raw, where), where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _member(kind, raw, where)
    return _scalar(kind, raw, where)


def _optional(kind: types.UnionType, raw: object, where: str) -> object:
    """Convert to `X | None`, the only union that records use."""
    if raw is None:
        return None
    inner = next(argument for argument in kind.__args__ if argument is not types.NoneType)
    return _value(inner, raw, where)


def _record(kind: type, raw: Mapping[str, object], where: str) -> object:
    hints = typing.get_type_hints(kind)
    inline = {field.name: hints[field.name] for field in dataclasses.fields(kind) if _is_inline(field)}
    own = [field for field in dataclasses.fields(kind) if field.name not in inline]
    known = [field.name for field in own if field.name in raw or _is_required(field)]
    of_inline = [field.name for part in inline.values() for field in dataclasses.fields(part)]
    absent = [name for name in (*known, *of_inline) if name not in raw]
    if absent:
        raise _OtherContent(f"{where} lacks {', '.join(absent)}; found {', '.join(raw) or 'nothing'}")
    values = {name: _value(hints[name], raw[name], f"{where}.{name}") for name in known}
    return kind(**values, **{name: _record(part, raw, where) for name, part in inline.items()})


def _is_inline(field: dataclasses.Field[object]) -> bool:
    return bool(field.metadata.get("inline"))


def _is_required(field: dataclasses.Field[object]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _member(kind: type[StrEnum], raw: object, where: str) -> StrEnum:
    if raw not in list(kind):
        raise _wrong(raw, f"one of {', '.join(kind)}", where)
    return kind(str(raw))


def _scalar(kind: object, raw: object, where: str) -> object:
    if kind is float and isinstance(raw, (int, float)) and not isinstance(raw, bool) and math.isfinite(raw):
        return float(raw)
    if kind is int and isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if kind in (str, bool) and type(raw) is kind:
        return raw
    raise _wrong(raw, getattr(kind, "__name__", str(kind)), where)


def _listed(raw: object, where: str) -> list[object]:
    if not isinstance(raw, list):
        raise _wrong(raw, "a list", where)
    return raw


def _mapped(raw: object, where: str) -> dict[str, object]:
    if not isinstance(raw, dict):
        raise _wrong(raw, "an object with named values", where)
    return raw


def _wrong(raw: object, expected: str, where: str) -> _OtherContent:
    return _OtherContent(f"{where} is {raw!r:.80}; expected {expected}")
