"""What a finished command left in its results: every number, no time, so that two folders can be compared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pandas as pd
import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open

from sfpo_bench.core.metric_keys import is_timed

_HASHED = ("scores.csv", "league.csv", "league_pairs.csv", "reposition.csv", "areas.csv", "tuning.csv")
# The delivery's own markers say which requests were made; steps by seconds are seconds.
_NOT_COMPARED = ("journal_records", "accuracy_by_train_seconds")

Content = dict[str, str]


def left_behind(results: Path) -> Content:
    """By path: journals, samples, trials and weights of the last checkpoint, tables, and the rows of the store.

    Of a pruned trial only what it had done when it was judged: how many steps its run takes until it hears of the
    verdict is a matter of time.
    """
    found = Content()
    names = _run_names(results / "mlflow.db")
    judged = _judged(results)
    pruned = {f"{folder.parent.name} {folder.name}": step for folder, step in judged.items()}
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        # Artifacts lie below the id that the store drew for their run.
        key = re.sub("[0-9a-f]{32}", lambda uid: names.get(uid[0], uid[0]), str(path.relative_to(results)))
        if path.name == "journal.jsonl":
            rows = _rows(path)
            if (step := judged.get(path.parent)) is not None:
                rows = [row for row in rows if int(str(row["step"])) <= step]
            found[key] = _digest([without_seconds(row) for row in rows])
        elif path.parent in judged or any(f"/{name}/" in f"/{key}" for name in pruned):
            continue
        elif path.name == "samples.jsonl" or path.name in _HASHED:
            found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "samples.parquet":
            found[key] = _table(path)
        elif path.name == "trials.json":
            found[key] = _digest(without_seconds(json.loads(path.read_text())))
    for checkpoints in sorted(path for path in results.rglob("checkpoints") if path.parent not in judged):
        last = max((path for path in checkpoints.glob("step-*")), default=None)
        for part in sorted(last.iterdir()) if last else ():
            if files := [part] if part.suffix == ".safetensors" else sorted(part.glob("*.safetensors")):
                found[str(part.relative_to(results))] = _digest(sorted(_tensors(files)))
    if (results / "mlflow.db").is_file():
        found["mlflow.db"] = _digest(sorted(_stored(results / "mlflow.db", pruned)))
    return found


def _tensors(files: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    """Every tensor, or shard of one, with its place in the tensor.

    Which rank writes what all of them hold, and the order of names in a file, differ from run to run.
    """
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                about = json.loads((opened.metadata() or {}).get("DCP_SHARDING_INFO", "{}"))
                for name in opened.keys():  # noqa: SIM118 - no mapping
                    content = opened.get_tensor(name).contiguous().flatten().view(torch.uint8).numpy().tobytes()
                    yield name, json.dumps(about.get(name)), hashlib.sha256(content).hexdigest()
        except SafetensorError:
            yield file.name, "", "cannot be read"


def _table(path: Path) -> str:
    try:
        return _digest(pd.read_parquet(path, engine="pyarrow", use_threads=False).to_json())
    except pa.ArrowInvalid:
        return "cannot be read"


def _rows(journal: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def _judged(results: Path) -> dict[Path, int]:
    """The folders of pruned runs, with the step of the evaluation at which each was judged: the first one that has
    spent the share of the budget which belongs to the trial's last rung."""
    found = dict[Path, int]()
    for trials in results.rglob("trials.json"):
        plan = json.loads((trials.parent / "sweep.json").read_text())
        goal, search = next(iter(plan["goals"].values())), plan["search"]
        assert search["seeds"] == 1, "rungs of several seeds are numbered one after another"
        for trial in json.loads(trials.read_text())["trials"]:
            if trial["state"] != "pruned":
                continue
            spent = goal["budget"] * max(map(int, trial["rungs"])) / search["rungs"]
            [journal] = (trials.parent / "trials" / f"trial-{trial['number']:04d}").glob("seed-*/journal.jsonl")
            evaluations = [row for row in _rows(journal) if row["kind"] == "evaluation"]
            found[journal.parent] = next(int(str(row["step"])) for row in evaluations if _cost(row, goal) >= spent)
    return found


def _cost(row: dict[str, object], goal: dict[str, str]) -> float:
    costs = row["costs"]
    assert isinstance(costs, dict)
    return float(costs[goal["axis"]])


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


def _stored(database: Path, pruned: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """Every run once, with its parent, status and numbers; of what measures time, that it is there."""
    with closing(connect(database)) as connection:
        runs = connection.execute("SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active'").fetchall()
        names = {uuid: name for uuid, name, _ in runs}
        parents = dict(connection.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'"))
        for uuid, name, status in runs:
            # Whether a pruned run had ended by itself when it heard of the verdict is a matter of time as well.
            ended = "" if name in pruned else status
            yield "run", name, ended, str(names.get(parents.get(uuid, ""), ""))
            for key, value, step in connection.execute(
                "SELECT key, value, step FROM metrics WHERE run_uuid = ?", (uuid,)
            ):
                # Steps on the other axes are costs, which do not say whether the run was judged by then.
                late = name in pruned and (step > pruned[name] or key.startswith("accuracy_by"))
                if not late and not key.startswith(_NOT_COMPARED):
                    shown = "" if timed(key.rpartition("/")[2]) else repr(value)
                    yield "metric", name, key, shown, str(step)


def _digest(value: object) -> str:
    text = re.sub(r"/[^\"]*/results/", "/results/", json.dumps(value, sort_keys=True, default=str))
    return hashlib.sha256(text.encode()).hexdigest()
