"""Checked values of a log: texts, grades, counts. An invalid grade is refused, and the message names its place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sfpo_bench.core.errors import ConfigError

# Words of graders for correct, wrong and partly correct. The letters are inspect's.
_WORDS = {
    **dict.fromkeys(("c", "correct", "true", "yes"), 1.0),
    **dict.fromkeys(("i", "incorrect", "wrong", "false", "no", "n"), 0.0),
    "p": 0.5,
}
_ROUNDING = 1e-9


def grade(place: str, name: str, value: object) -> float | None:
    """Return a grade as a share in [0, 1], or None for null and NaN (not graded). Raises `ConfigError` for others."""
    if value is None or value == "":
        return None
    number = _WORDS.get(value.strip().lower()) if isinstance(value, str) else None
    if number is None and isinstance(value, (bool, int, float, str)):
        number = _number(value)
    if number is not None and math.isnan(number):
        return None
    if number is None or not -_ROUNDING <= number <= 1 + _ROUNDING:
        raise ConfigError(
            f"{place}: the grade {name} is {value!r:.80}, expected a share from 0 to 1, true or false, or null where "
            "there is none. Name another grade of this log, grade=[NAME], or grade here, grades=ours"
        )
    return min(1.0, max(0.0, number))


def _number(value: bool | int | float | str) -> float | None:
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def text_of(value: object) -> str | None:
    """Return the text of a string, a number, or the text parts of a message's content; None for other values."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")  # JSON may hold half of a surrogate pair
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        parts = [one.get("text") for one in value if one.get("type", "text") == "text"]
        return "".join(one for one in parts if isinstance(one, str))
    return None


def texts_of(value: object) -> tuple[str, ...]:
    """Return the texts in a list, or the text of a single value; values without a text are left out."""
    listed: Sequence[object] = value if isinstance(value, list) else [value]
    return tuple(text for text in map(text_of, listed) if text is not None)


def inside(value: object, *names: str) -> object:
    """Return the value at a path of names, or None if the path does not exist."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def count_of(value: object) -> int | None:
    """Return the value if it is an integer of at least 0, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def share_of(value: object) -> float | None:
    """Return the value if it is a finite number of at least 0, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = _number(value)
    return number if number is not None and math.isfinite(number) and number >= 0 else None
