"""What makes two calls the same comparison.

The same name, settings, targets and code continue a comparison: finished runs are kept, others resumed. Seeds, arms and
steps may be added. Anything else that differs is refused with the difference, or starts a new folder when asked to.
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
    """What the comparison is made with."""
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
    """The folder this comparison lives in, with its plan written; raises what `place` raises."""
    found = place(folder, plan, new_on_change=new_on_change)
    write(found, plan)
    return found


def write(folder: Path, plan: ComparisonPlan) -> None:
    """Write the plan of this comparison; hold the folder's lock. Raises `ComparisonChanged` as `place` does."""
    place(folder, plan, new_on_change=False)
    there = ComparisonFolder(folder)
    there.write_plan(_merged(there.plan(), plan) if there.exists() else plan)


REMEDY = (
    "Undo the change to continue it, give this one another name (name=...), or set comparison.new_on_change=true to "
    "start a new one beside it"
)


def place(folder: Path, plan: ComparisonPlan, *, new_on_change: bool, remedy: str = REMEDY) -> Path:
    """The folder this comparison lives in, nothing written: `folder` itself, or, when what is there is another
    comparison and `new_on_change` holds, the first `folder-2`, `folder-3` … that is free or the same.

    Raises `ComparisonChanged`, with the differences and the `remedy`, when it is another comparison and no new one is
    wanted.
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
    """The new plan, with arms and seeds that only the old one has kept: added to, never taken away."""
    only_old = {key: arm for key, arm in old.arms.items() if key not in new.arms}
    return replace(new, arms={**new.arms, **only_old}, seeds=tuple(sorted({*old.seeds, *new.seeds})))
