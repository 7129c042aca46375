"""Declares settings: type, default, range and one line of documentation, in the dataclass that uses them.

A dataclass whose fields are made by `option` is the Hydra schema, the defaults and the range check. For light objects,
such as an update rule or a task, it is also the object itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from sfpo_bench.core.errors import ConfigError

_KEY = "option"


class IsDataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


@dataclass(frozen=True, slots=True)
class Option:
    """A setting's range and documentation; `low` and `high` are inclusive bounds, `above` and `below` exclusive."""

    doc: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def range_text(self) -> str:
        """The range as an interval, such as `[0, 1]` or `(0, inf)`; empty without bounds."""
        bounds = (self.low, self.above, self.high, self.below)
        if all(bound is None for bound in bounds):
            return ""
        left = f"[{self.low:g}" if self.low is not None else f"({-math.inf if self.above is None else self.above:g}"
        right = f"{self.high:g}]" if self.high is not None else f"{math.inf if self.below is None else self.below:g})"
        return f"{left}, {right}"

    def allows(self, value: float) -> bool:
        """True when `value` is finite and inside the bounds."""
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def option(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field for a documented setting with a range. Lists, mappings and nested settings are copied."""
    metadata = {_KEY: Option(doc, low, high, above, below)}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return dataclasses.field(default_factory=lambda: dataclasses.replace(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its dotted key, current value and declaration."""

    key: str
    value: Any
    option: Option


def settings(node: IsDataclass, prefix: str = "") -> Iterator[Setting]:
    """Every setting below `node`, depth first, with dotted keys."""
    for field in dataclasses.fields(node):
        if not field.init:
            continue
        key = f"{prefix}{field.name}"
        value = getattr(node, field.name)
        declared = field.metadata.get(_KEY, Option(""))
        yield Setting(key, value, declared)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from settings(value, f"{key}.")


def check_ranges(node: IsDataclass, prefix: str = "") -> None:
    """Raise `ConfigError` for the first number below `node` outside its declared range."""
    for setting in settings(node, prefix):
        values = setting.value if isinstance(setting.value, (list, tuple)) else [setting.value]
        for value in values:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if number and not setting.option.allows(value):
                expected = setting.option.range_text() or "a finite number"
                raise ConfigError(
                    f"{setting.key} = {value:g} is out of range: expected {expected}. "
                    f"{setting.key}: {setting.option.doc}"
                )
