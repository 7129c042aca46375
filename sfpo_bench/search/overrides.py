"""Parses Hydra sweep overrides: `key=a,b`, `range(1,9,2)`, `interval(0,1)`, `tag(log,interval(1e-5,1e-3))`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
)

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.search import Kind, ParameterSettings


def split_overrides(arguments: Sequence[str]) -> tuple[dict[str, ParameterSettings], list[str]]:
    """Return the parameters defined by the sweep overrides among `arguments`, and the other overrides unchanged.

    A parameter is named after the last part of its key, or after the whole key if that name is taken. Raises
    `ConfigError` for unsupported sweeps.
    """
    parameters: dict[str, ParameterSettings] = {}
    fixed: list[str] = []
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
            continue
        key = override.key_or_group
        parts = re.split(r"[./]", key)
        name = parts[-1] if parts[-1] not in parameters else "_".join(parts)
        parameters[re.sub(r"\W", "_", name)] = _parameter(key, override)
    return parameters, fixed


def _parameter(key: str, override: Override) -> ParameterSettings:
    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        kinds = {
            (False, False): Kind.float,
            (True, False): Kind.log,
            (False, True): Kind.int,
            (True, True): Kind.log_int,
        }
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return ParameterSettings(key, kinds["log" in value.tags, whole], value.start, value.end)
    if isinstance(value, RangeSweep):
        return ParameterSettings(key, Kind.categorical, choices=list(_range(value)))
    if isinstance(value, ChoiceSweep):
        return ParameterSettings(key, Kind.categorical, choices=[_plain(override, item) for item in value.list])
    raise ConfigError(f"{override.input_line}: expected key=a,b, range(…) or interval(…)")


def _range(value: RangeSweep) -> list[int | float]:
    assert value.start is not None and value.stop is not None
    count = math.ceil((value.stop - value.start) / value.step - 1e-9)
    return [value.start + index * value.step for index in range(max(0, count))]


def _plain(override: Override, item: object) -> object:
    """Return the item as YAML would load it."""
    if isinstance(item, QuotedString):
        return item.text
    if isinstance(item, list):
        return [_plain(override, part) for part in item]
    if item is None or isinstance(item, (bool, int, float, str)):
        return item
    raise ConfigError(
        f"{override.input_line}: a sweep over {item!r}; expected numbers, texts, lists, null, true or false"
    )
