"""Loads a comparison from an MLflow store alone, as the same records as from its folder.

    load_from_mlflow("arithmetic", "sqlite:///results/mlflow.db")

The plan is the artifact `comparison.json` of the comparison's run, else it is taken from the report's `summary.json`,
else from the runs' parameters and tags. A run's curves are its artifact `curves.parquet` if its last values agree with
the metric history, else the history.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import BenchError, ConfigError, MissingDataError
from sfpo_bench.reports.load import Comparison, Progress, SeedRun, SeedStatus, seed_run
from sfpo_bench.reports.stored_curves import Numbers, numbers_of_history, numbers_of_parquet
from sfpo_bench.reports.summary import SUMMARY_FILE
from sfpo_bench.results.codec import decoded
from sfpo_bench.results.comparison import SCHEMA_VERSION, ComparisonFolder, ComparisonPlan
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.tracking.delivery import CHANGED_PARAM_TAG
from sfpo_bench.tracking.mlflow_store import resolve_tracking_uri
from sfpo_bench.tracking.stored_runs import StoredRunInfo, StoredRuns, stored_runs

# Artifacts have the names of the original files.
_PLAN, _RUN = ComparisonFolder(Path()).plan_file, RunFolder(Path())
_STATUS = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted", "RUNNING": "running"}
_STOP = "training.stop_at."
_NOT_SETTINGS = ("run_name", "output_root", "seed", "device")


def load_from_mlflow(run: str, tracking_uri: str | None = None) -> Comparison:
    """Return the comparison whose MLflow run has the id or the name `run`, with every run of it in the store.

    `tracking_uri` defaults to MLFLOW_TRACKING_URI, else `results/mlflow.db` in the working directory. Raises
    `MissingDataError` if there is no such comparison, `ConfigError` if several have that name or the plan is not
    usable, and `TrackingError` if the store fails.
    """
    uri = resolve_tracking_uri(tracking_uri, Path("results"), os.environ)
    store = stored_runs(uri)
    parent = _parent(store, run)
    children = [child for child in store.children(parent.run_id) if "arm" in child.tags and "seed" in child.tags]
    plan = _plan(store, parent, children)
    return Comparison(plan, _runs(store, plan, children))


def _parent(store: StoredRuns, run: str) -> StoredRunInfo:
    found = store.named(run)
    comparisons = [one for one in found if one.tags.get("sfpo_bench.kind") == "comparison"]
    if not comparisons:
        raise MissingDataError(
            f"found no comparison {run!r} in the tracking store ({len(found)} other runs of that name); expected the "
            "name or id of a comparison's MLflow run: give another, or `sfpo-bench sync` its folder first"
        )
    if len(comparisons) > 1:
        raise ConfigError(
            f"found {len(comparisons)} comparisons named {run!r}; expected one: give one of their ids, "
            f"{', '.join(one.run_id for one in comparisons)}"
        )
    return comparisons[0]


# --- the plan ---------------------------------------------------------------------------------------------------------


def _plan(store: StoredRuns, parent: StoredRunInfo, children: Sequence[StoredRunInfo]) -> ComparisonPlan:
    """Return the stored plan with the arms and seeds that were added later."""
    raw = _artifact(store, parent, _PLAN.name) or _of_summary(_artifact(store, parent, SUMMARY_FILE))
    raw = raw or _of_params(parent, children)
    arms = {**raw.get("arms", {})}
    for child in children:
        own = arms.setdefault(child.tags["arm"], {"label": child.tags["arm"]})
        own.setdefault("settings", _settings(child))
    seeds = dict.fromkeys([*raw.get("seeds", []), *sorted({int(child.tags["seed"]) for child in children})])
    return ComparisonPlan.from_plain({**raw, "arms": arms, "seeds": list(seeds)}, f"the plan of {parent.name!r}")


def _artifact(store: StoredRuns, run: StoredRunInfo, name: str) -> dict[str, Any]:
    [content] = store.files([run], name)
    remedy = "expected what `sfpo-bench compare` wrote: `sfpo-bench sync` its folder again"
    return decoded(content, f"artifact {name} of run {run.run_id}", remedy) if content else {}


def _of_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan inside a report's summary."""
    if not summary:
        return {}
    arms = {
        arm["name"]: {key: arm[key] for key in ("label", "note", "overrides", "settings")} for arm in summary["arms"]
    }
    seeds = dict.fromkeys(curve["seed"] for arm in summary["arms"] for curve in arm["curves"])
    return {**summary, "schema_version": SCHEMA_VERSION, "arms": arms, "seeds": list(seeds)}


def _of_params(parent: StoredRunInfo, children: Sequence[StoredRunInfo]) -> dict[str, Any]:
    """Return the plan from the parameters of the comparison's runs, for stores without its files."""
    changed = {key.removeprefix(CHANGED_PARAM_TAG): text for key, text in parent.tags.items()}
    own = {key: _parsed(changed.get(key, value)) for key, value in parent.params.items()}
    first = {key: _parsed(value) for key, value in children[0].params.items()} if children else {}
    return {
        "schema_version": SCHEMA_VERSION,
        "name": parent.name,
        "arms": {arm: {"label": label} for arm, label in own.get("arms", [])},
        "axes_note": "",
        "split": first.get("comparison.split", "report"),
        "mode": "sampled",
        "temperature": first.get("evaluation.temperature", 1.0),
        "stop_at": _stop_of(first),
        **{key: own[key] for key in ("baseline", "targets", "steps", "code_version", "experiment") if key in own},
    }


def _stop_of(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the `stop_at` of runs with these parameters, or None if they take all their steps."""
    found = {key.removeprefix(_STOP): value for key, value in params.items() if key.startswith(_STOP)}
    return found if found.get("accuracy") else None


def _settings(child: StoredRunInfo) -> dict[str, object]:
    return {key: _parsed(value) for key, value in child.params.items() if key not in _NOT_SETTINGS}


def _parsed(text: str) -> Any:
    """Return `0.5`, `[1, 2]`, `true` as values, and any other text unchanged."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- the runs ---------------------------------------------------------------------------------------------------------


def _runs(store: StoredRuns, plan: ComparisonPlan, children: Sequence[StoredRunInfo]) -> tuple[SeedRun, ...]:
    """Return a record for every planned run; of two stored runs of one arm and seed, the one started last."""
    stored = {(child.tags["arm"], int(child.tags["seed"])): child for child in children}
    known = list(stored.values())
    numbers = dict(zip((child.run_id for child in known), _numbers(store, known), strict=True))
    provenances = dict(zip((child.run_id for child in known), store.files(known, _RUN.provenance.name), strict=True))
    return tuple(
        _run(plan, arm, seed, child, numbers[child.run_id], provenances[child.run_id])
        if (child := stored.get((arm, seed)))
        else SeedRun(arm, seed, SeedStatus.pending)
        for arm in plan.arms
        for seed in plan.seeds
    )


def _numbers(store: StoredRuns, runs: Sequence[StoredRunInfo]) -> list[Numbers]:
    """Return each run's metrics from its Parquet file if the metric history agrees, else from the history."""
    found = [_of_file(run, content) for run, content in zip(runs, store.files(runs, _RUN.curves.name), strict=True)]
    lacking = [run for run, numbers in zip(runs, found, strict=True) if numbers is None]
    histories = iter(store.histories(lacking))
    return [numbers or numbers_of_history(next(histories)) for numbers in found]


def _of_file(run: StoredRunInfo, content: bytes | None) -> Numbers | None:
    if content is None:
        return None
    try:
        numbers = numbers_of_parquet(content)
    except (OSError, ValueError, KeyError):  # pyarrow's errors for a damaged or different file
        return None
    return numbers if numbers.agrees_with(run.latest) else None


def _run(
    plan: ComparisonPlan, arm: str, seed: int, stored: StoredRunInfo, numbers: Numbers, provenance: bytes | None
) -> SeedRun:
    step = max((int(one.steps[-1]) for one in numbers.metrics.values() if len(one.steps)), default=0)
    state = stored.tags.get("sfpo_bench.state") or _STATUS.get(stored.status, "running")
    progress = Progress(SeedStatus(state), step, stored.tags.get("sfpo_bench.cause", ""))
    try:
        about = decoded(provenance, _RUN.provenance.name) if provenance else {}
        return seed_run(plan, arm, seed, progress, numbers.records(), numbers.metrics, about)
    except (BenchError, ValueError, KeyError, TypeError, AttributeError) as error:
        return SeedRun(arm, seed, SeedStatus.unreadable, cause=f"{type(error).__name__}: {error}")
