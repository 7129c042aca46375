"""Selection and order of the cost axes in a report."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sfpo_bench.core.costs import MAIN_AXES, CostAxis

TABLE_ORDER = (*MAIN_AXES, *(axis for axis in CostAxis if axis not in MAIN_AXES))


def known_axes(keys: Collection[str], among: Sequence[CostAxis] = tuple(CostAxis)) -> tuple[CostAxis, ...]:
    """Return the recorded axes; imported runs may lack some."""
    return tuple(axis for axis in among if axis in keys)
