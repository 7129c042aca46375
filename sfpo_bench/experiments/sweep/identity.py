"""What makes two calls the same sweep, and the file that remembers it.

Trials may be added, seeds of the best trials too. Anything else that differs is refused with the difference: trials
that were chosen or judged otherwise are not of one study.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path

from sfpo_bench.core.errors import ComparisonChanged
from sfpo_bench.core.types import Split
from sfpo_bench.experiments.sweep.plan import Plan
from sfpo_bench.problems.sets import choice_on
from sfpo_bench.results.provenance import code_version
from sfpo_bench.results.run_folder import write_atomically
from sfpo_bench.results.stored_files import read_object
from sfpo_bench.settings.config import flatten, to_plain
from sfpo_bench.training.run import differences, identity

FILE = "sweep.json"
SCHEMA_VERSION = 1
# How the search is driven, not what it finds.
_FREE = (
    "trials", "top_trials", "top_seeds", "keep_pruned", "failures_in_a_row", "retry", "attach", "storage",
    "lease_seconds", "slots", "threads", "parameters", "goals",
)  # fmt: skip

Content = dict[str, object]


def describe(plan: Plan) -> Content:
    """The contents of sweep.json."""
    evaluation = plan.config.evaluation
    choice = choice_on(evaluation.select_suite, evaluation.allow_report) if evaluation.select_suite else None
    settings = {key: _plain(value) for key, value in asdict(plan.settings).items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "name": plan.name,
        "experiment": plan.config.description,
        "trials": plan.trials,
        "top_trials": plan.settings.top_trials,
        "parameters": {p.name: {k: _plain(v) for k, v in asdict(p).items()} for p in plan.space.parameters},
        "chosen_on": choice.suite if choice else "",
        "chosen_on_report": bool(choice and choice.on_report) or plan.settings.split is Split.report,
        "goals": {goal.name: {k: _plain(v) for k, v in asdict(goal).items()} for goal in plan.goals},
        "search": {key: value for key, value in settings.items() if key not in _FREE},
        "settings": {k: v for k, v in identity(flatten(to_plain(plan.base))).items() if k != "seed"},
        "code_version": code_version(),
    }


def check(plan: Plan) -> None:
    """Raise `ComparisonChanged`, with the differences, when the folder holds another sweep; nothing is written."""
    old = saved(plan.folder)
    changed = _changes(old, describe(plan)) if old is not None else []
    if changed:
        raise ComparisonChanged(
            f"{plan.folder} holds another sweep: {'; '.join(changed)}. Undo the change to continue it, or give "
            "this one another name (name=...)"
        )


def settle(plan: Plan) -> None:
    """Write sweep.json, once this process may work on the sweep; raises what `check` raises."""
    check(plan)
    new, old = describe(plan), saved(plan.folder)
    if old is not None:
        new["trials"] = max(int(str(old["trials"])), plan.trials)
    write_atomically(plan.folder / FILE, json.dumps(new, indent=1, ensure_ascii=False))


def saved(folder: Path) -> Content | None:
    """What was written there, if anything."""
    path = folder / FILE
    if not path.is_file():
        return None
    return read_object(path)


def _changes(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    changed: list[str] = []
    for key in ("schema_version", "parameters", "goals", "search", "settings", "code_version"):
        before, after = old.get(key), json.loads(json.dumps(new[key]))
        if isinstance(before, dict) and isinstance(after, dict):
            changed += differences(flatten(before, f"{key}."), flatten(after, f"{key}."))
        else:
            changed += differences({key: before}, {key: after})
    return changed


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
