"""What makes two calls the same comparison, and the file that remembers it.

The same name, settings, targets and code continue a comparison: finished runs are kept, others resumed. Seeds, arms and
steps may be added. Anything else that differs is refused with the difference, or starts a new folder when asked to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.core.errors import ComparisonChanged
from sfpo_bench.experiments.comparison.arms import Arm
from sfpo_bench.results.provenance import code_version
from sfpo_bench.results.run_folder import write_atomically
from sfpo_bench.results.stored_files import read_object
from sfpo_bench.settings.config import RunConfig, flatten, to_plain
from sfpo_bench.training.run import differences, identity

FILE = "comparison.json"
SCHEMA_VERSION = 1
_AXES_NOTE = (
    "prompts, responses and generated tokens are counted over training rollouts; train seconds leave out evaluation, "
    "checkpoints and work lost to a kill"
)

Content = dict[str, object]


def describe(config: RunConfig, arms: Sequence[Arm], seeds: Sequence[int]) -> Content:
    """The contents of comparison.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": config.name,
        "experiment": config.description,
        "baseline": config.comparison.baseline,
        "axes_note": _AXES_NOTE,
        "targets": list(config.comparison.targets),
        "split": config.comparison.split.value,
        "mode": "sampled",
        "temperature": config.evaluation.temperature,
        "seeds": list(seeds),
        "steps": config.training.steps,
        "code_version": code_version(),
        "arms": {arm.key: _describe_arm(arm) for arm in arms},
    }


def _describe_arm(arm: Arm) -> Content:
    settings = {key: value for key, value in flatten(to_plain(arm.node)).items() if key != "seed"}
    return {
        "label": arm.label,
        "note": arm.note,
        "overrides": list(arm.overrides),
        "settings": identity(settings),
    }


def settle(folder: Path, content: Content, *, new_on_change: bool) -> Path:
    """The folder this comparison lives in, with comparison.json written; raises what `place` raises."""
    found = place(folder, content, new_on_change=new_on_change)
    write(found, content)
    return found


def write(folder: Path, content: Content) -> None:
    """Write comparison.json of this comparison; hold the folder's lock. Raises `ComparisonChanged` as `place` does."""
    place(folder, content, new_on_change=False)
    write_atomically(folder / FILE, json.dumps(_merge(folder, content), indent=1, ensure_ascii=False))


def place(folder: Path, content: Content, *, new_on_change: bool) -> Path:
    """The folder this comparison lives in, nothing written: `folder` itself, or, when what is there is another
    comparison and `new_on_change` holds, the first `folder-2`, `folder-3` … that is free or the same.

    Raises `ComparisonChanged`, with the differences, when it is another comparison and no new one is wanted.
    """
    number = 1
    while True:
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        changed = _changes(candidate, content)
        if not changed:
            return candidate
        if not new_on_change:
            raise ComparisonChanged(
                f"{candidate} holds another comparison: {'; '.join(changed)}. Undo the change to continue it, give "
                "this one another name (name=...), or set comparison.new_on_change=true to start a new one beside it"
            )
        number += 1


def _changes(folder: Path, new: Content) -> list[str]:
    old = _saved(folder)
    if old is None:
        return []
    fixed = ("schema_version", "targets", "split", "mode", "temperature", "code_version")
    changed = differences({key: old.get(key) for key in fixed}, {key: new[key] for key in fixed})
    old_arms, new_arms = _arms(old), _arms(new)
    for arm in old_arms.keys() & new_arms.keys():
        changed += [f"{arm}: {line}" for line in differences(old_arms[arm], new_arms[arm])]
    if int(str(new["steps"])) < int(str(old["steps"])):
        changed.append(f"training.steps: {old['steps']} -> {new['steps']} (steps can only be added)")
    return changed


def _merge(folder: Path, new: Content) -> Content:
    """The new contents, with arms and seeds that only the old ones have kept: added to, never taken away."""
    old = _saved(folder)
    if old is None:
        return new
    assert isinstance(old["arms"], dict) and isinstance(new["arms"], dict)
    assert isinstance(old["seeds"], list) and isinstance(new["seeds"], list)
    return {
        **new,
        "arms": {**new["arms"], **{key: arm for key, arm in old["arms"].items() if key not in new["arms"]}},
        "seeds": sorted({*old["seeds"], *new["seeds"]}),
    }


def _saved(folder: Path) -> Content | None:
    path = folder / FILE
    if not path.is_file():
        return None
    return read_object(path)


def _arms(content: Content) -> dict[str, Mapping[str, object]]:
    arms = content["arms"]
    assert isinstance(arms, dict)
    return {key: arm["settings"] for key, arm in arms.items()}
