"""Which cost axes a report shows, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sfpo_bench.core.costs import MAIN_AXES, CostAxis

TABLE_ORDER = (*MAIN_AXES, *(axis for axis in CostAxis if axis not in MAIN_AXES))


def known_axes(keys: Collection[str], among: Sequence[CostAxis] = tuple(CostAxis)) -> tuple[CostAxis, ...]:
    """Those of the axes that were recorded: imported runs may lack some."""
    return tuple(axis for axis in among if axis in keys)
