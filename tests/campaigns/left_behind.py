"""What a finished command left in its results: every number, no time, so that two folders can be compared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pandas as pd

from sfpo_bench.core.metric_keys import is_timed

_HASHED = ("scores.csv", "league.csv", "league_pairs.csv", "reposition.csv", "areas.csv", "tuning.csv")
# The delivery's own markers say which requests were made; steps by seconds are seconds.
_NOT_COMPARED = ("journal_records", "accuracy_by_train_seconds")

Content = dict[str, str]


def left_behind(results: Path) -> Content:
    """By path: journals, samples, trials and weights of the last checkpoint, tables, and the rows of the store."""
    found = Content()
    names = _run_names(results / "mlflow.db")
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        # Artifacts lie below the id that the store drew for their run.
        key = re.sub("[0-9a-f]{32}", lambda uid: names.get(uid[0], uid[0]), str(path.relative_to(results)))
        if path.name == "journal.jsonl":
            found[key] = _digest([without_seconds(json.loads(line)) for line in path.read_text().splitlines()])
        elif path.name == "samples.jsonl" or path.name in _HASHED:
            found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "samples.parquet":
            found[key] = _digest(pd.read_parquet(path, engine="pyarrow", use_threads=False).to_json())
        elif path.name == "trials.json":
            found[key] = _digest(without_seconds(json.loads(path.read_text())))
    for checkpoints in sorted(results.rglob("checkpoints")):
        last = max((path for path in checkpoints.glob("step-*")), default=None)
        for path in sorted(last.rglob("*.safetensors")) if last else ():
            found[str(path.relative_to(results))] = hashlib.sha256(path.read_bytes()).hexdigest()
    if (results / "mlflow.db").is_file():
        found["mlflow.db"] = _digest(sorted(_stored(results / "mlflow.db")))
    return found


def differences(whole: Content, killed: Content) -> list[str]:
    """What is missing, too much, or another; empty for equal results."""
    return [
        *(f"missing: {key}" for key in sorted(whole.keys() - killed.keys())),
        *(f"too much: {key}" for key in sorted(killed.keys() - whole.keys())),
        *(f"differs: {key}" for key in sorted(whole.keys() & killed.keys()) if whole[key] != killed[key]),
    ]


def without_seconds(value: object) -> object:
    """A decoded value whose times are None: the same of two runs that did the same."""
    if isinstance(value, dict):
        return {key: None if timed(key) else without_seconds(item) for key, item in value.items()}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def timed(key: str) -> bool:
    """Whether a key of a journal or of the store holds a time."""
    return is_timed(key) or key == "time_unix_s" or key.endswith("unix_s")


def _run_names(database: Path) -> dict[str, str]:
    if not database.is_file():
        return {}
    with closing(connect(database)) as connection:
        return dict(connection.execute("SELECT run_uuid, name FROM runs").fetchall())


def _stored(database: Path) -> Iterator[tuple[str, ...]]:
    """Every run once, with its parent, status and numbers; of what measures time, that it is there."""
    with closing(connect(database)) as connection:
        runs = connection.execute("SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active'").fetchall()
        names = {uuid: name for uuid, name, _ in runs}
        parents = dict(connection.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'"))
        for uuid, name, status in runs:
            yield "run", name, status, str(names.get(parents.get(uuid, ""), ""))
            for key, value, step in connection.execute(
                "SELECT key, value, step FROM metrics WHERE run_uuid = ?", (uuid,)
            ):
                if not key.startswith(_NOT_COMPARED):
                    shown = "" if timed(key.rpartition("/")[2]) else repr(value)
                    yield "metric", name, key, shown, str(step)


def _digest(value: object) -> str:
    text = re.sub(r"/[^\"]*/results/", "/results/", json.dumps(value, sort_keys=True, default=str))
    return hashlib.sha256(text.encode()).hexdigest()
