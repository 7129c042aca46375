"""A composed tree of settings made typed: every node of the class that its `kind` names, defaults filled in."""

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
    """What is declared of a tree beside its schema.

    `kinds`: nodes whose class depends on their `kind`, by dotted key, the inner ones first. `defaults`: nodes that may
    be left out, and the kind that each then is. `named`: mappings whose keys are free names, as holder, key and the
    class of what stands below a name; parts of an algorithm in there are of the same kinds as those in `algorithm`.
    """

    kinds: Mapping[str, Kinds]
    defaults: Mapping[str, str]
    named: tuple[tuple[str, str, type], ...]


def typed_tree(node: DictConfig, schema: type, declared: Declared) -> DictConfig:
    """The tree of `schema` with every node of its declared class, defaults filled in.

    Raises `ConfigError` for a kind that is not declared and for what does not fit the fields of its class.
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
    """What stands at a dotted key; None where nothing does."""
    found: Any = plain
    for part in filter(None, key.split(".")):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _type_parts(plain: dict[str, Any], place: str, declared: Declared) -> None:
    """Type the parts of an algorithm that the settings at `place` have, as those in `algorithm` are."""
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
    """`value` checked against the fields of `cls`; `key` is its dotted name."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} is {value!r}, expected a group of settings: write {key}.NAME=VALUE")
    try:
        node = OmegaConf.structured(cls)
        # To merge a node of one class into the default of another is an error, even where the field takes both.
        for name, inner in value.items():
            if isinstance(inner, DictConfig) and name in node:
                node[name] = inner
        return OmegaConf.merge(node, value)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, key)) from error
