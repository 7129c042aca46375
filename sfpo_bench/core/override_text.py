"""Hydra overrides as text: quoting arbitrary values, and error messages that show the right quoting."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def quoted(text: str) -> str:
    r"""The text as a value of an override: `it's` is `'it\'s'`.

    Only backslashes before a quote or `${` are special: they are doubled, and one more is added.
    """
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    escaped = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), escaped)
    return f"'{escaped}'"


def written(key: str, value: str) -> str:
    """`key=value` for a shell, quoted where Hydra or the shell need it."""
    plain = f"{key}={value}"
    override = plain if _is_text(plain, value) else f"{key}={quoted(value)}"
    if re.fullmatch(r"[\w@%+=:,./-]+", override):
        return override
    return shlex.quote(override) if re.search(r"[\"$`!]|\\(?!')", override) else f'"{override}"'


def as_value(text: str) -> str:
    """The text as the value of an override, quoted only where Hydra would read it differently, as in `'1e5'`."""
    return text if _is_text(f"key={text}", text) else quoted(text)


def word(text: str) -> str:
    """A positional argument, quoted for a shell."""
    return shlex.quote(text)


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """The parsed overrides; raises `ConfigError` for the first invalid one and shows how to write it."""
    parsed: list[Override] = []
    for override in overrides:
        found = _parse(override)
        if isinstance(found, str):
            raise ConfigError(_advice(override, found))
        parsed.append(found)
    return parsed


def _parse(override: str) -> Override | str:
    """The parsed override, or the reason why it is invalid."""
    # A local import, since reports quote values without Hydra.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_overrides([override])[0]
    except HydraException as error:
        return str(error)


def _advice(override: str, found: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override!r} sets nothing; expected KEY=VALUE with a setting of the verb, which its --help lists"
    if not re.fullmatch(r"[+~]{0,2}[\w./@:-]+", key):
        return f"{override!r}: {key!r} is no name of a setting; expected key=value, the key without spaces and quotes"
    if re.match(r"[\[{(]", value.strip()):
        return (
            f"{override!r} is not a list or mapping that can be read; expected {key}=[a,b] or {key}={{a: 1}}, items "
            f"with other signs than letters, digits and -_./:%+ in quotes: \"{key}=['a=b','c d']\"; or, for a text "
            f"that begins so, {written(key, value)}"
        )
    reason = "".join(f" ({line.strip()})" for line in found.splitlines() if "function" in line)
    return f"{override!r}: the value has characters that must be quoted{reason}; write {written(key, value)}"


def _is_text(override: str, value: str) -> bool:
    """True when the override, without quoting, sets the text `value`."""
    parsed = _parse(override)
    if isinstance(parsed, str) or "${" in value:
        return False
    found = None if parsed.is_sweep_override() else parsed.value()
    return isinstance(found, str) and found == value
