"""Logs of trackers and trainers are recognised by what they hold, and read whole or refused with the place.

What a library writes is written here by that library; the forms that it documents and that need a service are written
by that documentation.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from sfpo_bench.cli import main
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.importing.costs import StatedCosts
from sfpo_bench.importing.curves import ImportedRun, imported_run
from sfpo_bench.importing.fields import PRESETS, Fields, Preset, as_logged, settle_accuracy
from sfpo_bench.importing.log import LogRow, RunLog, as_resumed, in_order
from sfpo_bench.importing.naming import Names
from sfpo_bench.importing.reader import Given, TextFormat
from sfpo_bench.importing.readers import READERS, recognised
from sfpo_bench.reports import load_comparison
from sfpo_bench.results.run_folder import RunState
from tests.extras import needs

HERE = Path(__file__).parent
OWN = PRESETS[Preset.own]
Rows = Sequence[tuple[int, Mapping[str, float]]]
CURVE: Rows = [(step, {"accuracy": (10 + step) / 100, "responses": 64.0 * step}) for step in (0, 10, 20)]


def logs(path: Path, **given: object) -> list[RunLog]:
    return recognised(path).runs(Given(**given))  # type: ignore[arg-type]  # of a test


def numbers(log: RunLog) -> list[tuple[int, Mapping[str, float]]]:
    return [(row.step, dict(row.values)) for row in log.rows]


def run(log: RunLog, fields: Fields = OWN) -> ImportedRun:
    found = [name for row in log.rows for name in (*row.values, *row.unread)]
    return imported_run(log, settle_accuracy(as_logged(fields, found), found), StatedCosts())


# --- which kind a file is of ------------------------------------------------------------------------------------------


def test_a_file_of_no_known_kind_is_refused_with_all_that_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"\x00\x01 nothing of the kind")
    with pytest.raises(ConfigError) as refused:
        recognised(tmp_path / "notes")
    for reader in READERS:
        assert f"{reader.kind} ({reader.looked_for})" in str(refused.value)
    with pytest.raises(MissingDataError, match="nothing is not there; expected a log: an offline run of W&B, event"):
        recognised(tmp_path / "nothing")


def test_a_folder_holds_logs_of_one_kind(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("step,accuracy\n1,0.5\n")
    with pytest.raises(ConfigError, match=r"is a folder with no log; .*other logs are given file by file: files.ARM"):
        recognised(tmp_path)
    mllog(tmp_path / "a" / "one.log", 1, CURVE)
    assert [one.name for one in recognised(tmp_path).files] == ["one.log"]
    (tmp_path / "run-1.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    with pytest.raises(
        ConfigError, match="is a folder with a log of MLPerf and an offline run of W&B; expected logs of"
    ):
        recognised(tmp_path)


@pytest.mark.parametrize("name", ["log", "log.txt", "log.jsonl", "log.json"])
def test_lines_of_json_are_known_by_what_they_are_and_not_by_their_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("".join(json.dumps({"step": step, **own}) + "\n" for step, own in CURVE))
    assert numbers(logs(path)[0]) == CURVE


# --- order ------------------------------------------------------------------------------------------------------------


def test_an_evaluation_that_was_logged_late_undoes_nothing() -> None:
    """It is done after later training steps: no number's steps fall."""
    rows = [LogRow(step, {"responses": 8.0 * step}, f"row {step}") for step in (1, 2, 3)]
    log = RunLog("a", 0, "log", (*rows, LogRow(2, {"accuracy": 0.5}, "late")))
    assert [row.step for row in in_order(log).rows] == [1, 2, 2, 3]
    assert as_resumed(log).rows == in_order(log).rows
    assert run(log).evaluations[0].costs.responses == 16


def test_a_resumption_undoes_late_evaluations_too() -> None:
    early = [LogRow(step, {"responses": 8.0 * step}, f"row {step}") for step in (1, 2, 3)]
    late = [LogRow(2, {"accuracy": 0.9}, "undone"), LogRow(2, {"responses": 16.0}, "resumed")]
    log = RunLog("a", 0, "log", (*early, *late, LogRow(2, {"accuracy": 0.4}, "again")))
    assert in_order(log) == log
    kept = as_resumed(log)
    assert [(row.step, row.place) for row in kept.rows] == [(1, "row 1"), (2, "resumed"), (2, "again")]
    assert kept.notes == ("log: 3 rows of steps 2 to 3 were replaced by later ones",)


# --- arm and seed -----------------------------------------------------------------------------------------------------


def trackio(path: Path, runs: Mapping[str, Rows], settings: Mapping[str, object], has_ids: bool = True) -> Path:
    """A project as Trackio lays it out, with ids of runs as since 2026 or without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = "run_id TEXT NOT NULL, " if has_ids else ""
    with sqlite3.connect(path) as database:
        database.execute(
            f"CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, {own}timestamp TEXT NOT NULL, "
            "run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL)"
        )
        database.execute(
            f"CREATE TABLE configs (id INTEGER PRIMARY KEY AUTOINCREMENT, {own}run_name TEXT NOT NULL, "
            "config TEXT NOT NULL, created_at TEXT NOT NULL)"
        )
        marks, names = ("?, ", "run_id, ") if has_ids else ("", "")
        for name, rows in runs.items():
            key = (f"id of {name}",) if has_ids else ()
            config = json.dumps({"_Username": "me", **settings_of(settings, name)})
            database.execute(
                f"INSERT INTO configs ({names}run_name, config, created_at) VALUES ({marks}?, ?, '')",
                (*key, name, config),
            )
            for step, numbers in rows:
                texts = {"NaN" if one != one else "Infinity": one for one in numbers.values() if not math.isfinite(one)}
                told = {n: next((t for t, v in texts.items() if v is one), one) for n, one in numbers.items()}
                database.execute(
                    f"INSERT INTO metrics ({names}timestamp, run_name, step, metrics) VALUES ({marks}'', ?, ?, ?)",
                    (*key, name, step, json.dumps(told)),
                )
    database.close()
    return path


def settings_of(settings: Mapping[str, object], name: str) -> Mapping[str, object]:
    own = settings.get(name, {})
    assert isinstance(own, dict)
    return own


@pytest.mark.parametrize("has_ids", [True, False])
def test_runs_of_trackio_are_told_apart_by_their_settings(has_ids: bool, tmp_path: Path) -> None:
    settings = {"one": {"algo": {"name": "grpo"}, "seed": 3}, "two": {"algo": {"name": "sfpo"}, "seed": 4}}
    path = trackio(tmp_path / "maths.db", {"one": CURVE, "two": CURVE[:2]}, settings, has_ids)
    found = logs(path, names=Names(arm="algo.name"))
    assert [(log.arm, log.seed, numbers(log)) for log in found] == [("grpo", 3, CURVE), ("sfpo", 4, CURVE[:2])]
    with pytest.raises(ConfigError, match=r"run one has no tag or parameter 'lr'.*arm=NAME, one of algo.name, seed"):
        logs(path, names=Names(arm="lr"))


def test_runs_are_told_apart_by_their_names(tmp_path: Path) -> None:
    path = trackio(tmp_path / "maths.db", {"grpo-k3-seed11": CURVE, "sfpo-seed2": CURVE}, {})
    found = logs(path, names=Names(run_name="{arm}-seed{seed}"))
    assert [(log.arm, log.seed) for log in found] == [("grpo-k3", 11), ("sfpo", 2)]
    with pytest.raises(ConfigError, match=r"has no tag or parameter 'seed'.*or its name: run_name='\{arm\}-\{seed\}'"):
        logs(path)
    with pytest.raises(ConfigError, match=r"run 'grpo-k3-seed11' has not the form run_name = '\{arm\}_s\{seed\}'"):
        logs(path, names=Names(run_name="{arm}_s{seed}"))
    with pytest.raises(ConfigError, match=r"run_name = 'runs' has no \{arm\} and no \{seed\}"):
        logs(path, names=Names(run_name="runs"))


def test_two_runs_of_one_arm_and_seed_name_what_differs_between_them(tmp_path: Path) -> None:
    settings = {"one": {"seed": 0, "lr": 1e-6, "algo": "grpo"}, "two": {"seed": 0, "lr": 2e-6, "algo": "grpo"}}
    path = trackio(tmp_path / "maths.db", {"one": CURVE, "two": CURVE}, settings)
    with pytest.raises(ConfigError, match=r"several runs of arm 'grpo' with seed 0; .* seed=NAME, one of lr$"):
        logs(path, names=Names(arm="algo"))


def test_a_run_that_is_the_only_one_is_of_the_arm_and_place_that_it_is_given_under(tmp_path: Path) -> None:
    path = trackio(tmp_path / "maths.db", {"brave-sun": CURVE}, {})
    [log] = logs(path, arm="grpo", seed=2)
    assert (log.arm, log.seed) == ("grpo", 2)
    [log] = logs(path)
    assert (log.arm, log.seed) == ("brave-sun", 0)


# --- every reader: a bad number, a NaN evaluation, a falling cost, falling steps, a cut end ---------------------------


def mllog(path: Path, seed: int, rows: Rows, batch: int = 64, status: str = "success") -> Path:
    """Lines of MLPerf's logs: `responses` of the rows are the samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[tuple[str, object, Mapping[str, object]]] = [
        ("submission_benchmark", "qwen35_397b_grpo", {}), ("seed", seed, {}), ("global_batch_size", batch, {}),
        ("eval_samples", 251, {}), ("run_start", None, {}),
    ]  # fmt: skip
    lines += [("eval_accuracy", own["accuracy"], {"samples_count": own["responses"]}) for _, own in rows]
    lines.append(("run_stop", None, {"status": status}))
    text = "".join(
        ":::MLLOG "
        + json.dumps({"namespace": "", "time_ms": 1000 * at, "event_type": "POINT_IN_TIME", "key": key, "value": value,
                      "metadata": {"file": "grpo.py", "lineno": 7, **told}}) + "\n"
        for at, (key, value, told) in enumerate(lines)
    )  # fmt: skip
    path.write_text(text)
    return path


def prime_rl(path: Path, rows: Rows) -> Path:
    """prime-rl's metrics.jsonl, with steps from 1 on; the first evaluation is that of step 0."""
    lines = [{"step": s, "time": 1.0, "progress/total_samples": own["responses"], "progress/total_problems": 1.0}
             for s, own in rows if s]  # fmt: skip
    lines += [{"step": s, "time": 2.0, "eval/math/avg@4": own["accuracy"]} for s, own in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def chart(path: Path, rows: Rows) -> Path:
    """A chart of W&B as CSV, of two metrics of a run."""
    names = [f'"grpo - {name}{end}"' for name in ("accuracy", "responses") for end in ("", "__MIN", "__MAX")]
    cells = [[step, *(own[name] for name in ("accuracy", "responses") for _ in range(3))] for step, own in rows]
    path.write_text("\n".join([",".join(['"Step"', *names]), *(",".join(map(str, line)) for line in cells)]) + "\n")
    return path


def json_rows(path: Path, rows: Rows) -> Path:
    """W&B's history as pandas exports it: `to_json(orient="records")`."""
    path.write_text(json.dumps([{"_step": step, "_runtime": 1.0, **own} for step, own in rows]))
    return path


def json_columns(path: Path, rows: Rows) -> Path:
    """The same as `to_json()` of a frame writes it, by column."""
    named = {"_step": {str(at): step for at, (step, _) in enumerate(rows)}}
    columns = {name: {str(at): own[name] for at, (_, own) in enumerate(rows)} for name in rows[0][1]}
    path.write_text(json.dumps({**named, **columns}))
    return path


def tensorboard(path: Path, rows: Rows, purge_step: int | None = None) -> Path:
    """A run as TensorBoard's own writer writes it; a restart says from which step on."""
    needs("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(path), filename_suffix=f".{len(list(path.glob('*')))}")
    if purge_step is not None:
        writer.add_event(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))
    for step, own in rows:
        for name, value in own.items():
            writer.add_event(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)])))
    writer.close()
    return path


WRITERS: Mapping[str, tuple[Callable[[Path, Rows], Path], Fields]] = {
    "trackio": (lambda path, rows: trackio(path, {"grpo": rows}, {}), OWN),
    "mllog": (lambda path, rows: mllog(path, 0, rows), PRESETS[Preset.mllog]),
    "prime-rl": (prime_rl, PRESETS[Preset.prime_rl]),
    "chart": (chart, OWN),
    "rows": (json_rows, OWN),
    "columns": (json_columns, OWN),
    "tensorboard": (tensorboard, OWN),
}
EVERY = pytest.mark.parametrize("kind", list(WRITERS))


def written(kind: str, folder: Path, rows: Rows) -> tuple[RunLog, Fields]:
    write, fields = WRITERS[kind]
    [log] = logs(write(folder / ("log.json" if kind in ("rows", "columns") else "log"), rows))
    return log, fields


def with_number(step: int, name: str, value: float) -> Rows:
    return [(at, {**own, name: value} if at == step else own) for at, own in CURVE]


@EVERY
def test_every_kind_holds_the_same_curve(kind: str, tmp_path: Path) -> None:
    one = run(*written(kind, tmp_path, CURVE))
    curve = [(each.step, each.accuracy, each.costs.responses) for each in one.evaluations]
    assert curve == [(step, own["accuracy"], own["responses"]) for step, own in CURVE]


@EVERY
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_evaluation_that_is_no_number_is_named_and_not_dropped(kind: str, value: float, tmp_path: Path) -> None:
    log, fields = written(kind, tmp_path, with_number(20, "accuracy", value))
    with pytest.raises(
        ConfigError, match=r"log.*(step 20|line \d+|row 2), column .*: found .*; expected a finite number"
    ):
        run(log, fields)


@EVERY
def test_a_cost_that_falls_is_named(kind: str, tmp_path: Path) -> None:
    log, fields = written(kind, tmp_path, with_number(20, "responses", 320.0))
    with pytest.raises(ConfigError, match=r"is 320 and falls from 640|step 5 comes after step 10"):
        run(log, fields)


@EVERY
def test_steps_that_fall_back_are_refused_or_give_way(kind: str, tmp_path: Path) -> None:
    again = [*CURVE[:2], (20, {"accuracy": 0.9, "responses": 1280.0}), CURVE[1], CURVE[2]]
    if kind == "tensorboard":  # a step logged again at once is one that falls there too
        assert len(again) == 5
    log, fields = written(kind, tmp_path, again)
    with pytest.raises(ConfigError, match=r"step 10 comes after step 20.*later_wins=true"):
        run(log, fields)
    one = run(as_resumed(log), fields)
    assert [each.accuracy for each in one.evaluations] == [own["accuracy"] for _, own in CURVE]


@pytest.mark.parametrize("kind", ["mllog", "prime-rl", "tensorboard"])
def test_a_log_that_was_cut_off_is_read_without_its_end_where_asked_for(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind][0](tmp_path / "log", CURVE)
    [file] = recognised(path).files
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ConfigError, match="cut_last_line=true"):
        logs(path)
    [log] = logs(path, form=TextFormat(cut_last_line=True))
    assert any("was cut off and is left out" in note for note in log.notes)
    assert len(run(log, WRITERS[kind][1]).evaluations) >= 2


# --- prime-rl ---------------------------------------------------------------------------------------------------------


def test_totals_of_prime_rl_that_counts_from_zero_hold_at_the_end_of_their_step(tmp_path: Path) -> None:
    """The evaluation at step s is of the policy after s steps, logged behind the step that ran beside it."""
    lines: list[dict[str, float]] = [{"step": 0, "eval/math/avg@4": 0.1, "eval/math/pass@4": 0.2}]
    for step in range(4):
        totals = {"progress/total_samples": 64.0 * (step + 1), "progress/total_problems": 8.0 * (step + 1)}
        lines.append({"step": step, **totals, "time/step": 10.0, "time/save_ckpt": 2.0, "decode_len/all/mean": 100.0})
    lines.append({"step": 2, "eval/math/avg@4": 0.3, "eval/math/pass@4": 0.4})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    one = run(logs(tmp_path / "metrics.jsonl")[0], PRESETS[Preset.prime_rl])
    costs = [each.costs for each in one.evaluations]
    assert [(c.responses, c.prompts, c.train_seconds, c.tokens) for c in costs] == [(0, 0, 0, 0), (128, 16, 16, 12800)]


@pytest.mark.parametrize("first", [0, 1])
def test_an_evaluation_of_prime_rl_that_names_its_checkpoint_is_no_step(first: int, tmp_path: Path) -> None:
    found = []
    for named in (False, True):
        lines: list[dict[str, float]] = []
        for step in range(first, first + 4):
            lines.append({"step": step, "progress/total_samples": 64.0 * (step + 1 - first)})
        for step in (0, 2, 4):
            lines.append(
                {"step": step, "eval/math/avg@4": 0.1 * step} | ({"progress/ckpt_step": step} if named else {})
            )
        path = tmp_path / f"{named}" / "metrics.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        evaluations = run(logs(path)[0], PRESETS[Preset.prime_rl]).evaluations
        found.append([(one.step, one.costs.responses) for one in evaluations])
    assert found[0] == found[1] == [(0, 0), (2, 128), (4, 256)]


def test_runs_of_one_name_in_a_chart_and_several_runs_in_a_file_of_json_are_refused(tmp_path: Path) -> None:
    twice = tmp_path / "chart.csv"
    twice.write_text('"Step","grpo - acc","grpo - acc__MIN","grpo - acc","grpo - acc__MIN"\n0,0.1,0.1,0.5,0.5\n')
    with pytest.raises(ConfigError, match="has the column 'grpo - acc' twice"):
        logs(twice)
    rows = [{"step": 10 * at, "accuracy": 0.1, "arm": "a" if at < 2 else "b"} for at in range(4)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    with pytest.raises(ConfigError, match="several runs: arm is a, b"):
        logs(tmp_path / "rows.json")


# --- MLPerf -----------------------------------------------------------------------------------------------------------


def test_eighteen_logs_of_three_batch_sizes_and_six_seeds_are_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shape of the reference logs of GRPO in MLPerf Training: pass@4 of 251 problems, target 0.69."""
    monkeypatch.chdir(tmp_path)
    needed = {256: 4608, 512: 5120, 1024: 7168}
    for batch, samples in needed.items():
        for seed in range(1, 7):
            rows = [(0, {"accuracy": 0.6 + 0.1 * at / samples + seed / 1000, "responses": float(at)})
                    for at in range(samples - 4 * batch, samples + 1, batch)]  # fmt: skip
            mllog(tmp_path / "logs" / f"gbs{batch}" / f"result_{seed}.txt", seed, rows, batch)
    main(["import", "logs", "arm=global_batch_size", "targets=[0.69]", "name=grpo"])
    said = capsys.readouterr().out
    assert "imported from logs: 1024 6, 256 6, 512 6; baseline 1024" in said
    assert "accuracy: eval_accuracy; costs: responses, train_seconds" in said
    comparison = load_comparison(tmp_path / "results" / "grpo")
    assert len(comparison.runs) == 18 and {one.seed for one in comparison.runs} == set(range(1, 7))
    assert {one.curve[-1].n for one in comparison.runs} == {251}
    assert {one.curve[-1].step: one.curve[-1].costs.responses for one in comparison.runs} == {
        18: 4608,
        10: 5120,
        7: 7168,
    }


def test_a_file_may_hold_several_runs_one_behind_the_other(tmp_path: Path) -> None:
    parts = [mllog(tmp_path / f"{seed}", seed, CURVE, status=status).read_text() for seed, status in STATES.items()]
    whole = tmp_path / "all.log"
    whole.write_text(
        "".join(f"0: {line}\n" for part in parts for line in ["a line of the trainer", *part.splitlines()])
    )
    found = logs(whole)
    assert [(log.arm, log.seed, log.state) for log in found] == [
        ("qwen35_397b_grpo", 1, RunState.finished),
        ("qwen35_397b_grpo", 2, RunState.finished),
        ("qwen35_397b_grpo", 3, RunState.failed),
    ]
    assert [numbers(log) for log in found] == 3 * [numbers(logs(tmp_path / "1")[0])]
    unfinished = tmp_path / "killed.log"
    unfinished.write_text(parts[0].rsplit(":::MLLOG", 1)[0])
    assert logs(unfinished)[0].state is RunState.running


STATES = {1: "success", 2: "aborted", 3: "crashed"}


def test_seconds_of_training_leave_the_evaluations_out(tmp_path: Path) -> None:
    def line(second: float, key: str, value: object = None, **told: object) -> str:
        kind = {"start": "INTERVAL_START", "stop": "INTERVAL_END"}.get(key.rpartition("_")[2], "POINT_IN_TIME")
        raw = {"time_ms": 1000 * second, "event_type": kind, "key": key, "value": value, "metadata": told}
        return f":::MLLOG {json.dumps(raw)}\n"

    text = line(100, "run_start")
    for start, accuracy, samples in ((160, 0.5, 640), (250, 0.7, 1280)):
        text += line(start, "eval_start", samples_count=samples)
        text += line(start + 29, "eval_accuracy", accuracy, samples_count=samples)
        text += line(start + 30, "eval_stop", samples_count=samples)
    (tmp_path / "log").write_text(text)
    one = run(logs(tmp_path / "log")[0], PRESETS[Preset.mllog])
    assert [each.costs.train_seconds for each in one.evaluations] == [60, 120]
    assert [each.step for each in one.evaluations] == [640, 1280]  # no batch size, no steps


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (":::MLLOG {", "line 1 is not JSON after :::MLLOG"),
        (":::MLLOG [1]", r"line 1: found \[1\]; expected an object with key, value, metadata, time_ms"),
        (':::MLLOG {"key": "seed", "value": 1, "time_ms": "x"}', "line 1: time_ms is 'x'; expected milliseconds"),
        (':::MLLOG {"key": "seed", "value": 1, "time_ms": 1, "event_type": "POINT"}', "line 1: event_type is 'POINT'"),
        (
            ':::MLLOG {"key": "eval_accuracy", "value": 1, "time_ms": 1, "metadata": {}}',
            "line 1: eval_accuracy has samples_count None in its metadata",
        ),
        (':::MLLOG {"key": "seed", "value": 1, "time_ms": 1}', "has no eval_accuracy; expected at least one"),
    ],
)
def test_lines_of_mlperf_that_are_wrong_are_named(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(line + "\n")
    with pytest.raises(ConfigError, match=said):
        logs(tmp_path / "log")


@pytest.mark.slow
def test_lines_that_mlperfs_own_logger_writes_are_read(tmp_path: Path) -> None:
    needs("mlperf_logging")
    import logging

    from mlperf_logging.mllog import mllog as library

    logger = logging.getLogger("a run")
    handler = logging.FileHandler(tmp_path / "log")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    writer = library.MLLogger(logger)
    writer.event("seed", 5)
    writer.event("global_batch_size", 64)
    writer.start("run_start")
    for _, own in CURVE:
        writer.event("eval_accuracy", own["accuracy"], metadata={"samples_count": int(own["responses"])})
    writer.end("run_stop", metadata={"status": "success"})
    handler.close()
    [log] = logs(tmp_path / "log")
    assert (log.seed, log.state) == (5, RunState.finished)
    curve = [(e.step, e.accuracy, e.costs.responses) for e in run(log, PRESETS[Preset.mllog]).evaluations]
    assert curve == [(step, own["accuracy"], own["responses"]) for step, own in CURVE]


# --- TensorBoard ------------------------------------------------------------------------------------------------------


def test_runs_of_tensorboard_are_the_folders_and_a_restart_gives_way(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    tensorboard(root / "grpo" / "seed0", [*CURVE[:2], (20, {"accuracy": 0.9, "responses": 1280.0})])
    tensorboard(root / "grpo" / "seed0", [CURVE[2]], purge_step=20)
    tensorboard(root / "sfpo" / "seed1", CURVE)
    found = logs(root, names=Names(run_name="{arm}/seed{seed}"))
    assert [(log.arm, log.seed) for log in found] == [("grpo", 0), ("sfpo", 1)]
    accuracies = [[each.accuracy for each in run(log).evaluations] for log in found]
    assert accuracies == 2 * [[own["accuracy"] for _, own in CURVE]]
    assert "restarted at step 20; 1 rows from there on were replaced by later ones" in found[0].notes[0]


def test_a_damaged_event_file_is_refused_with_the_byte(tmp_path: Path) -> None:
    [file] = recognised(tensorboard(tmp_path / "run", CURVE)).files
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is damaged at byte \d+: its checksum differs"):
        logs(tmp_path / "run")


@pytest.mark.slow
def test_what_torchs_writer_writes_is_read(tmp_path: Path) -> None:
    needs("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        for step, own in CURVE:
            writer.add_scalar("eval/rewards/correct/mean", own["accuracy"], step)
            writer.add_scalar("train/step_time", 2.0, step, new_style=True)
            writer.add_text("note", "nothing to count", step)
    [log] = logs(tmp_path / "run")
    one = run(log, PRESETS[Preset.trl])
    assert [each.accuracy for each in one.evaluations] == [own["accuracy"] for _, own in CURVE]
    assert [each.costs.train_seconds for each in one.evaluations] == [0, 20, 40]


# --- W&B --------------------------------------------------------------------------------------------------------------

WANDB = """
import json
import wandb
for name, settings, rows in json.load(open("runs.json")):
    run = wandb.init(project="p", name=name, config=settings, dir=".")
    for step, own in rows:
        run.log({key: float(value) for key, value in own.items()}, step=step)
    run.finish()
"""


def wandb(folder: Path, runs: Iterable[tuple[str, Mapping[str, object], Rows]]) -> Path:
    """Offline runs as W&B writes them, in a process of its own: it starts a service."""
    needs("wandb")
    text = [(name, settings, [(step, {k: str(v) for k, v in own.items()}) for step, own in rows])
            for name, settings, rows in runs]  # fmt: skip
    quiet = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true", "WANDB_ERROR_REPORTING": "0"}
    folder.mkdir()
    (folder / "runs.json").write_text(json.dumps(text))
    subprocess.run([sys.executable, "-c", WANDB], cwd=folder, env={**os.environ, **quiet}, check=True, timeout=200)
    return folder / "wandb"


@pytest.mark.slow
def test_offline_runs_of_wandb_are_read_with_settings_states_and_what_is_no_number(tmp_path: Path) -> None:
    bad = with_number(20, "accuracy", math.nan)
    folder = wandb(tmp_path / "w", [("one", {"seed": 3, "algo": {"name": "grpo"}}, CURVE), ("two", {"seed": 4}, bad)])
    # Folders are named after the second and a random id, so their order says nothing.
    by_name = {logs(path)[0].arm: path for path in recognised(folder).files}
    first, second = by_name["one"], by_name["two"]
    [log] = logs(first, names=Names(arm="algo.name"))
    assert (log.arm, log.seed, log.state) == ("grpo", 3, RunState.finished)
    curve = [(each.step, each.accuracy, each.costs.responses) for each in run(log).evaluations]
    assert curve == [(step, own["accuracy"], own["responses"]) for step, own in CURVE]
    assert sorted((log.arm, log.seed) for log in logs(folder)) == [("one", 3), ("two", 4)]
    [worse] = logs(second)
    with pytest.raises(ConfigError, match=r"\.wandb, row 2, column accuracy: found 'NaN'; expected a finite number"):
        run(worse)
    content = first.read_bytes()
    first.write_bytes(content[:-5])
    with pytest.raises(ConfigError, match=r"ends within a record, at byte .*cut_last_line=true"):
        logs(first)
    [cut] = logs(first, form=TextFormat(cut_last_line=True))
    assert cut.state is RunState.running and "was cut off" in cut.notes[0]
    first.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    with pytest.raises(ConfigError, match=r"is damaged at byte \d+: its checksum differs"):
        logs(first)


@pytest.mark.slow
def test_a_long_run_of_wandb_goes_over_the_ends_of_its_blocks(tmp_path: Path) -> None:
    rows = [(step, {f"metric number {n}": step + n / 64 for n in range(64)}) for step in range(300)]
    [log] = logs(wandb(tmp_path / "w", [("long", {}, rows)]))
    assert [(row.step, row.values["metric number 63"]) for row in log.rows] == [(s, s + 63 / 64) for s in range(300)]


def test_trainers_step_counts_before_the_trackers_own(tmp_path: Path) -> None:
    """Hugging Face's callbacks log the trainer's step beside the tracker's count of rows."""
    rows: Rows = [
        (at, {"train/global_step": 10.0 * at, "accuracy": 0.1 * at, "responses": 64.0 * at}) for at in range(3)
    ]
    path = trackio(tmp_path / "p.db", {"grpo": [*rows, (3, {"note": 1.0})]}, {})
    [log] = logs(path)
    assert [row.step for row in log.rows] == [0, 10, 20]
    assert log.notes == (f"{path}, run grpo: 1 rows without train/global_step are left out, with note; step=NAME",)
    [log] = logs(path, names=Names(step="_step"))
    assert [row.step for row in log.rows] == [0, 1, 2, 3]


def test_names_of_a_preset_are_found_where_a_tracker_keeps_them() -> None:
    known = ["eval/rewards/correct/mean", "train/step_time", "train/completions/mean_length", "train/entropy"]
    fields = settle_accuracy(as_logged(PRESETS[Preset.trl], known), known)
    assert fields.accuracy == "eval/rewards/correct/mean" and fields.step_seconds == "train/step_time"
    assert fields.metrics["train/entropy"] == "entropy" and fields.metrics["reward"] == "reward_mean"
    assert as_logged(PRESETS[Preset.trl], ["step_time"]).step_seconds == "step_time"


def test_every_kind_is_imported_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    trackio(tmp_path / "maths.db", {"grpo-0": CURVE, "grpo-1": CURVE, "sfpo-0": CURVE}, {})
    main(["import", "maths.db", 'run_name="{arm}-{seed}"'])
    said = capsys.readouterr().out
    assert "imported from maths.db: grpo 2, sfpo 1; baseline grpo" in said
    assert "note: the arms have different seeds: grpo 0, 1; sfpo 0" in said
    chart(tmp_path / "chart.csv", CURVE)
    with pytest.raises(SystemExit):
        main(["import", "files.grpo=[chart.csv]", "separator=tab"])
    said = " ".join(capsys.readouterr().err.split())
    assert "separator = 'tab' is not read for this log, a chart exported from W&B as CSV; it is for a CSV file." in said
