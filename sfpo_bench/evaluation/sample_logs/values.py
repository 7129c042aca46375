"""Values of a log, checked: texts, grades, counts. A grade of another kind is refused with the place it stands at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sfpo_bench.core.errors import ConfigError

# What graders write for right, wrong and partly right; inspect reads its letters so.
_WORDS = {
    **dict.fromkeys(("c", "correct", "true", "yes"), 1.0),
    **dict.fromkeys(("i", "incorrect", "wrong", "false", "no", "n"), 0.0),
    "p": 0.5,
}
_ROUNDING = 1e-9


def grade(place: str, name: str, value: object) -> float | None:
    """The share in [0, 1] that a grade is; None for null and NaN, which are no grade. Raises `ConfigError`."""
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
    """The text of a value: itself, a number as text, or the text parts of a message's content; None for others."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")  # JSON may hold half of a surrogate pair
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        parts = [one.get("text") for one in value if one.get("type", "text") == "text"]
        return "".join(one for one in parts if isinstance(one, str))
    return None


def texts_of(value: object) -> tuple[str, ...]:
    """The texts of a list, or of one value alone; what is no text is left out."""
    listed: Sequence[object] = value if isinstance(value, list) else [value]
    return tuple(text for text in map(text_of, listed) if text is not None)


def inside(value: object, *names: str) -> object:
    """What stands at the end of a path of names; None where the path ends before."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def count_of(value: object) -> int | None:
    """A whole number of 0 or more; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def share_of(value: object) -> float | None:
    """A finite number of 0 or more; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = _number(value)
    return number if number is not None and math.isfinite(number) and number >= 0 else None
