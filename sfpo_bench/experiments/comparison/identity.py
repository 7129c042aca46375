"""Decides whether two calls belong to the same comparison.

A call with the same name, settings, targets and code continues a comparison: finished runs are kept, others resumed.
Seeds, arms and steps may be added. Any other difference is refused with a message, or starts a new folder on request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfpo_bench.experiments.comparison.arms import Arm
from sfpo_bench.results.code_version import code_version
from sfpo_bench.results.comparison import SCHEMA_VERSION, ComparisonFolder, ComparisonPlan, PlannedArm
from sfpo_bench.results.identity import refuse
from sfpo_bench.settings.config import RunConfig, flatten, to_plain
from sfpo_bench.training.run import identity

_AXES_NOTE = (
    "prompts, responses and generated tokens are counted over training rollouts; train seconds leave out evaluation, "
    "checkpoints and work lost to a kill"
)


def describe(config: RunConfig, arms: Sequence[Arm], seeds: Sequence[int]) -> ComparisonPlan:
    """Return the plan of the comparison."""
    return ComparisonPlan(
        schema_version=SCHEMA_VERSION,
        name=config.name,
        experiment=config.description,
        baseline=config.comparison.baseline,
        axes_note=_AXES_NOTE,
        targets=tuple(config.comparison.targets),
        split=config.comparison.split,
        mode="sampled",
        temperature=config.evaluation.temperature,
        seeds=tuple(seeds),
        steps=config.training.steps,
        code_version=code_version(),
        arms={arm.key: _describe_arm(arm) for arm in arms},
        stop_at=config.training.stop_at if config.training.stop_at.accuracy else None,
    )


def _describe_arm(arm: Arm) -> PlannedArm:
    settings = {key: value for key, value in flatten(to_plain(arm.node)).items() if key != "seed"}
    note = "; ".join(filter(None, (arm.note, *(f"unverified: {one}" for one in arm.unverified))))
    return PlannedArm(arm.label, note, arm.overrides, identity(settings).values)


def settle(folder: Path, plan: ComparisonPlan, *, new_on_change: bool) -> Path:
    """Return the folder of this comparison after writing its plan; raises the errors of `place`."""
    found = place(folder, plan, new_on_change=new_on_change)
    write(found, plan)
    return found


def write(folder: Path, plan: ComparisonPlan) -> None:
    """Write the plan of this comparison; the caller holds the lock. Raises `ComparisonChanged` like `place`."""
    place(folder, plan, new_on_change=False)
    there = ComparisonFolder(folder)
    there.write_plan(_merged(there.plan(), plan) if there.exists() else plan)


REMEDY = (
    "Undo the change to continue it, give this one another name (name=...), or set comparison.new_on_change=true to "
    "start a new one beside it"
)


def place(folder: Path, plan: ComparisonPlan, *, new_on_change: bool, remedy: str = REMEDY) -> Path:
    """Return the folder of this comparison without writing anything.

    This is `folder` itself or, if that holds another comparison and `new_on_change` is set, the first of `folder-2`,
    `folder-3` … that is free or holds the same comparison. Raises `ComparisonChanged` with the differences and the
    `remedy` if `folder` holds another comparison and `new_on_change` is not set.
    """
    number = 1
    while True:
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        there = ComparisonFolder(candidate)
        changed = there.plan().differences(plan) if there.exists() else []
        if not changed:
            return candidate
        if not new_on_change:
            refuse(f"{candidate} holds another comparison", changed, remedy)
        number += 1


def _merged(old: ComparisonPlan, new: ComparisonPlan) -> ComparisonPlan:
    """Return the new plan with the arms and seeds of the old one, which are never removed."""
    only_old = {key: arm for key, arm in old.arms.items() if key not in new.arms}
    return replace(new, arms={**new.arms, **only_old}, seeds=tuple(sorted({*old.seeds, *new.seeds})))
