"""The common base of the parts of an objective: ratio, mask and penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import LossInputs

if TYPE_CHECKING:
    from torch import Tensor


class LossPart(Facts):
    """A part of a policy-gradient objective; the objective needs whatever its parts need.

    A part with `uses_statistics` has a method `statistics`, and finds its own results in `LossInputs.statistics` under
    the names it gave them.
    """

    @property
    def uses_statistics(self) -> bool:
        """True when it needs statistics of the whole mini-batch."""
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
        """The smallest number of trained modules whose scores it compares."""
        return 0

    @property
    def needs_every_row(self) -> bool:
        """True when it may give a response with zero advantages a loss."""
        return False

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for invalid settings, also with `group` responses per prompt; `key` is the part's key."""
        return None


def named(part: str, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A part's statistics with the part's name as prefix."""
    return {f"{part}.{name}": value for name, value in statistics.items()}


def seen_by(part: str, inputs: LossInputs) -> LossInputs:
    """The inputs with only that part's statistics, without the prefix."""
    if not inputs.statistics:
        return inputs
    own = {name.removeprefix(f"{part}."): x for name, x in inputs.statistics.items() if name.startswith(f"{part}.")}
    return replace(inputs, statistics=own)
