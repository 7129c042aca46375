"""What a folder was made with, and the one way to compare that with what is asked now.

    made = Identity.of({"training": {"steps": 60}, "seed": 0})      values by dotted key: training.steps, seed
    made.differences(asked)                                         ["training.steps: 60 -> 80"]
    refuse(f"{folder} holds another sweep", differences, "…")       raises `ComparisonChanged`, unless there are none

Run, comparison, sweep, study and samples each say which values belong to theirs; all of them are compared here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sfpo_bench.core.errors import ComparisonChanged
from sfpo_bench.results.codec import to_plain

_ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Identity:
    """Values that two calls must share to continue each other's work, as they come back from JSON, by dotted key."""

    values: Mapping[str, object]

    @classmethod
    def of(cls, tree: Mapping[str, object]) -> Identity:
        """The leaves of `tree`; lists are leaves."""
        return cls(dict(_leaves(tree, "")))

    def without(self, keys: Collection[str]) -> Identity:
        """The same without some values."""
        return Identity({key: value for key, value in self.values.items() if key not in keys})

    def differences(self, asked: Identity) -> list[str]:
        """`key: old -> new` for every value that differs; `(absent)` where one side lacks it."""
        old, new = self.values, asked.values
        changed = [key for key in sorted({*old, *new}) if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
        return [f"{key}: {old.get(key, _ABSENT)} -> {new.get(key, _ABSENT)}" for key in changed]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name these values; equal identities have equal ones."""
        return hashlib.sha256(json.dumps(dict(self.values), sort_keys=True).encode()).hexdigest()


def refuse(found: str, differences: Sequence[str], remedy: str) -> None:
    """Raise `ComparisonChanged` saying what was found, every difference and what to do; return when there is none."""
    if differences:
        raise ComparisonChanged(f"{found}: {'; '.join(differences)}. {remedy}")


def _leaves(tree: Mapping[str, object], prefix: str) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found += _leaves(value, f"{prefix}{key}.")
        elif not isinstance(value, Mapping):
            found.append((f"{prefix}{key}", to_plain(value)))
    return found
