"""What the parts of an objective have in common: ratio, mask and penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import LossInputs

if TYPE_CHECKING:
    from torch import Tensor


class LossPart(Facts):
    """A part of a policy-gradient objective. What it needs, the objective needs; the defaults need nothing.

    A part with `uses_statistics` has a method `statistics` that makes them, and later finds in `LossInputs.statistics`
    its own alone, by the names that it gave them.
    """

    @property
    def uses_statistics(self) -> bool:
        """True when it must know the whole mini-batch before the loss of its rows."""
        return False

    @property
    def uses_entropy(self) -> bool:
        """True when it reads `LossInputs.entropies_BT`."""
        return False

    @property
    def uses_reference(self) -> bool:
        """True when it reads `LossInputs.reference_log_probs_BT`."""
        return False

    @property
    def least_modules(self) -> int:
        """How many trained modules it compares the scores of, at least."""
        return 0

    @property
    def needs_every_row(self) -> bool:
        """True when a response whose advantages are all zero may have a loss by it."""
        return False

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for settings that cannot work, alone or with `group` responses to a prompt; `key` is
        where the part sits."""
        return None


def named(part: str, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Statistics of a part under names that no other part has."""
    return {f"{part}.{name}": value for name, value in statistics.items()}


def seen_by(part: str, inputs: LossInputs) -> LossInputs:
    """The inputs with the statistics of that part alone, by the names that it gave them."""
    if not inputs.statistics:
        return inputs
    own = {name.removeprefix(f"{part}."): x for name, x in inputs.statistics.items() if name.startswith(f"{part}.")}
    return replace(inputs, statistics=own)
