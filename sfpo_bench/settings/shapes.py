"""Checks whether a value has its setting's shape: a group of settings, a mapping of names, a list, or one value.

OmegaConf's own errors name its classes and omit the key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import IsDataclass, settings
from sfpo_bench.settings.config import KINDS, OPEN


@dataclass(frozen=True, slots=True)
class _Expected:
    """The expected shape of a key, an example, what to do instead of an empty mapping (empty: it is accepted), and
    whether it is true or false."""

    shape: str
    example: str
    instead: str = ""
    is_switch: bool = False


def check_shape(schema: IsDataclass, key: str, value: object, place: str, *, chooses: bool = False) -> None:
    """Raise `ConfigError` when `value` does not have the shape of `key`; `place` is where it was written.

    Also for an empty mapping in place of a group's settings or of named entries: it would be merged with them, and so
    change nothing. With `chooses` a text is the name of a group, as in `model=hf`.
    """
    expected = _expected(schema, key)
    if expected is None or (chooses and isinstance(value, str)):
        return
    if expected.is_switch and isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ConfigError(f"{place}: {key} is {_found(value)}, expected true or false")
    if expected.shape == _kind(value) and value is not None:
        if isinstance(value, Mapping):
            if not value and expected.instead:
                raise ConfigError(
                    f"{place}: {key} is an empty mapping, which is merged with what is there and changes nothing: "
                    f"{expected.instead}"
                )
            for name, inner in value.items():
                check_shape(schema, f"{key}.{name}", inner, place)
        return
    raise ConfigError(f"{place}: {key} is {_found(value)}, expected {expected.shape}: write {expected.example}")


_GROUP, _LIST, _VALUE = "a group of settings", "a list", "one value"
_LEAVE_OUT = "set one of its settings, or leave it out"


def _kind(value: object) -> str:
    """The shape of a value; mappings count as groups."""
    return _LIST if isinstance(value, (list, tuple)) else _GROUP if isinstance(value, Mapping) else _VALUE


def _found(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return f"a mapping ({', '.join(map(str, value)) or 'empty'})"
    if isinstance(value, (list, tuple)):
        return f"a list ({', '.join(map(str, value))})"
    kind = "true or false" if isinstance(value, bool) else "a number" if isinstance(value, (int, float)) else "a text"
    return f"{kind} ({str(value)[:80]})"


def _expected(schema: IsDataclass, key: str) -> _Expected | None:
    """The expected shape, or None for keys inside nodes of several kinds and for unknown keys."""
    if key in KINDS:
        return _Expected(_GROUP, f"{key.replace('.', '/')}=NAME, one of {', '.join(KINDS[key])}", _LEAVE_OUT)
    for holder, name, cls in OPEN:
        above = f"{holder}.{name}."
        if f"{key}." == above:
            remove = f"remove entries on the command line with ~{key}.NAME, or leave it out"
            return _Expected(_GROUP, f"{key}.NAME=..., or {key}={{NAME: ...}}", remove)
        if key.startswith(above):
            _, dot, inner = key.removeprefix(above).partition(".")
            # An entry without settings is an entry: it has the defaults.
            return _of(cls(), inner, key) if dot else replace(_group(cls(), key), instead="")
    return _of(schema, key, key)


def _of(schema: IsDataclass, inner: str, key: str) -> _Expected | None:
    found = next((one for one in settings(schema) if one.key == inner), None)
    if found is None:
        return None
    value = found.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _group(value, key)
    if isinstance(value, Mapping):
        return _Expected(_GROUP, f"{key}.NAME=..., or {key}={{NAME: ...}}")
    if isinstance(value, list):
        return _Expected(_LIST, f"{key}=[...]")
    # A setting without default accepts any shape.
    if value is None:
        return None
    return _Expected(_VALUE, f"{key}=VALUE ({found.option.doc})", is_switch=isinstance(value, bool))


def _group(node: IsDataclass, key: str) -> _Expected:
    names = [field.name for field in dataclasses.fields(node)]
    return _Expected(_GROUP, f"{key}.{names[0]}=VALUE and the like; it has {', '.join(names)}", _LEAVE_OUT)
