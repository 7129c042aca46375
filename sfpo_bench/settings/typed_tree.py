"""Types a composed tree of settings: every node gets the class of its `kind`, with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.composition_errors import explain

Kinds = Mapping[str, type]

_ALGORITHM = "algorithm."


@dataclass(frozen=True, slots=True)
class Declared:
    """The declarations of a tree beside its schema.

    `kinds` are nodes whose class depends on `kind`, by dotted key, inner ones first. `defaults` are the kinds of nodes
    that may be omitted. `named` are mappings with user-chosen keys, as holder, key and class of the values; parts of an
    algorithm in them have the same kinds as those in `algorithm`.
    """

    kinds: Mapping[str, Kinds]
    defaults: Mapping[str, str]
    named: tuple[tuple[str, str, type], ...]


def typed_tree(node: DictConfig, schema: type, declared: Declared) -> DictConfig:
    """The tree of `schema` with every node of its declared class and defaults filled in.

    Raises `ConfigError` for an undeclared kind and for values that do not fit the fields of a class.
    """
    plain = cast(dict[str, Any], OmegaConf.to_container(node, resolve=True, enum_to_str=True))
    for holder, key, cls in declared.named:
        named = _at(plain, f"{holder}.{key}")
        for name, value in (named if isinstance(named, dict) else {}).items():
            place = f"{holder}.{key}.{name}"
            if isinstance(value, dict):
                _type_parts(plain, place, declared)
            named[name] = _merged(cls, value, place)
    for key in declared.kinds:
        _type_node(plain, key, declared.kinds[key], f"{key.replace('.', '/')}=<name>", declared.defaults.get(key))
    return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(schema), plain))


def _at(plain: dict[str, Any], key: str) -> Any:
    """The value at a dotted key, or None."""
    found: Any = plain
    for part in filter(None, key.split(".")):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _type_parts(plain: dict[str, Any], place: str, declared: Declared) -> None:
    """Type the parts of an algorithm in the settings at `place` like those in `algorithm`."""
    for key, kinds in declared.kinds.items():
        part = key.removeprefix(_ALGORITHM)
        if key.startswith(_ALGORITHM) and _at(plain, f"{place}.{part}") is not None:
            _type_node(plain, f"{place}.{part}", kinds, f"{place}.{part}.kind=<name>")


def _type_node(plain: dict[str, Any], key: str, kinds: Kinds, choice: str, default: str | None = None) -> None:
    above, _, name = key.rpartition(".")
    holder = _at(plain, above)
    if isinstance(holder, dict) and default is not None:
        holder.setdefault(name, None)
    if not isinstance(holder, dict) or name not in holder:
        return
    value = holder[name]
    if value is None and default is not None:
        value = {"kind": default}
    kind = str(value.get("kind")) if isinstance(value, dict) else ""
    if kind not in kinds:
        raise ConfigError(
            f"{key} is {value!r}, expected settings whose kind is one of {', '.join(kinds)}; choose one with {choice}"
        )
    holder[name] = _merged(kinds[kind], value, key)


def _merged(cls: type, value: Any, key: str) -> Any:
    """`value` merged into the fields of `cls`, with checks; `key` is its dotted name."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} is {value!r}, expected a group of settings: write {key}.NAME=VALUE")
    try:
        node = OmegaConf.structured(cls)
        # OmegaConf cannot merge a node of one class into a default of another, so assign it.
        for name, inner in value.items():
            if isinstance(inner, DictConfig) and name in node:
                node[name] = inner
        return OmegaConf.merge(node, value)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, key)) from error
