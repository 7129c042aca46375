"""Identities: the values that determine a result folder, compared before work in it is resumed.

    made = Identity.of({"training": {"steps": 60}, "seed": 0})      values by dotted key: training.steps, seed
    made.differences(asked)                                         ["training.steps: 60 -> 80"]
    refuse(f"{folder} holds another sweep", differences, "…")       raises `ComparisonChanged` if there are any

Runs, comparisons, sweeps, studies and samples each choose their values; the comparison is done here for all.
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
    """Values that must be equal for work to be resumed, by dotted key, in the form that JSON returns."""

    values: Mapping[str, object]

    @classmethod
    def of(cls, tree: Mapping[str, object]) -> Identity:
        """Return the identity of the leaves of `tree`; lists are leaves."""
        return cls(dict(_leaves(tree, "")))

    def without(self, keys: Collection[str]) -> Identity:
        """Return a copy without the values in `keys`."""
        return Identity({key: value for key, value in self.values.items() if key not in keys})

    def differences(self, asked: Identity) -> list[str]:
        """Return `key: old -> new` for every value that differs; `(absent)` if one side lacks it."""
        old, new = self.values, asked.values
        changed = [key for key in sorted({*old, *new}) if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
        return [f"{key}: {old.get(key, _ABSENT)} -> {new.get(key, _ABSENT)}" for key in changed]

    @property
    def digest(self) -> str:
        """Return the sha256 of the values, in hexadecimal; equal identities have equal digests."""
        return hashlib.sha256(json.dumps(dict(self.values), sort_keys=True).encode()).hexdigest()


def refuse(found: str, differences: Sequence[str], remedy: str) -> None:
    """Raise `ComparisonChanged` with `found`, every difference and `remedy`; return if there are no differences."""
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
