"""`sfpo-bench import` from the command line and from an MLflow store; `report`, `list` and `show` of what it wrote."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sfpo_bench.cli import main
from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.importing.costs import StatedCosts
from sfpo_bench.importing.curves import imported_run
from sfpo_bench.importing.fields import Fields
from sfpo_bench.importing.mlflow_log import mlflow_runs
from sfpo_bench.importing.naming import Names
from sfpo_bench.reports import curves_frame, load_comparison
from sfpo_bench.results.run_folder import RunState

HERE = Path(__file__).parent


def run(*arguments: str) -> None:
    main(list(arguments))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_csv_is_imported_reported_listed_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("import", str(HERE / "runs.csv"), "arm=method", "name=mine", "targets=[0.5]", "baseline=GRPO")
    said = capsys.readouterr().out
    assert "imported from runs.csv: GRPO 2, SFPO (K=3) 2; baseline GRPO" in said
    assert "accuracy: accuracy; costs: responses, train_seconds" in said
    run("report", "results/mine")
    assert "Cannot tell whether SFPO (K=3) needs less training time than GRPO" in capsys.readouterr().out
    run("list")
    assert "comparison results/mine" in capsys.readouterr().out
    run("show", "results/mine/runs/GRPO/seed-0001")
    assert "accuracy                       0.52" in capsys.readouterr().out
    assert "exists already" in refused(capsys, "import", str(HERE / "runs.csv"), "arm=method", "name=mine")


def test_logs_of_trl_are_imported_by_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [f"files.{arm}=[{','.join(str(HERE / 'trl' / f'{arm}-seed{seed}.json') for seed in (0, 1))}]"
             for arm in ("grpo", "sfpo")]  # fmt: skip
    per_step = ("responses_per_step_of.grpo=32", "responses_per_step_of.sfpo=10.6666666667")
    run("import", *files, "preset=trl", "name=trl", *per_step)
    assert "costs: responses, tokens, optimizer_steps, train_seconds" in capsys.readouterr().out
    frame = curves_frame(load_comparison(tmp_path / "results" / "trl"))
    assert frame.groupby(["arm", "seed"])["responses"].max().tolist() == [960] * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "found no log; expected one: a log with all runs"),
        (("runs.csv", "mlflow=x"), "found log, mlflow; expected one"),
        (("nothing.csv",), "nothing.csv is not there"),
        (("runs.csv", "accuracy=score"), "accuracy = 'score' is not a column of numbers in the log; expected one of"),
        (
            ("runs.csv", "arm=method", "baseline=PPO"),
            "baseline = 'PPO' is not an arm; expected one of GRPO, SFPO (K=3)",
        ),
        (("runs.csv",), "step 0 comes after step 30 in arm 'run'"),
        (("runs.csv", "preset=trlx"), "preset"),
        (("runs.csv", "arm=method", "targets=[50]"), "targets = 50 is out of range"),
        (("runs.csv", "arm=method", "percent=true"), "percent = true, and no accuracy is above 0.61"),
        (
            ("runs.csv", "arm=method", "responses_per_step_of.GRP=64"),
            "responses_per_step_of has the arm 'GRP'; expected one of GRPO, SFPO (K=3)",
        ),
        (
            ("runs.csv", "arm=method", "responses_per_step=64"),
            "responses_per_step is set, but the log records it",
        ),
        (("runs.csv", "arm=method", "uri=sqlite:///x.db"), "uri = 'sqlite:///x.db' is not read for this log"),
        (("files.a=[runs.csv,./runs.csv]",), "runs.csv twice; expected every log once"),
        (("files.a=[runs.csv]", "files.b=[]"), "files has the arm 'b' without a name or a log"),
        (("files.a=[runs.csv]", "arm=method"), "files.a names runs.csv, whose column of arms says 'GRPO'"),
        (
            ("files.a=[trl/grpo-seed0.json]", "preset=trl", "decimal=comma"),
            "decimal = 'comma' is not read for this log",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_message(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(HERE)
    assert said in refused(capsys, "import", *arguments, f"output_root={tmp_path}")
    assert not list(tmp_path.iterdir())


# --- MLflow -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with three runs as somebody's trainer would log them, one of which failed, and one without metrics."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("maths")
    for number, (arm, seed) in enumerate((("grpo", 1), ("sfpo", 1), ("sfpo", 2), ("idle", 1)), 1):
        one = client.create_run(experiment, run_name=f"{arm}-{seed}", start_time=number)
        client.log_param(one.info.run_id, "method", arm)
        client.log_param(one.info.run_id, "data/seed", str(seed))
        for step in () if arm == "idle" else (10, 0):
            client.log_metric(one.info.run_id, "val/acc", 0.1 + 0.01 * step, step=step)
            client.log_metric(one.info.run_id, "samples", 64.0 * step, step=step)
        if arm != "idle":
            client.log_metric(one.info.run_id, "val/acc", 0.3, step=10)  # logged again after a resumption
        client.set_terminated(one.info.run_id, "FAILED" if seed == 2 else "FINISHED")
    return uri


def test_an_experiment_of_mlflow_is_imported(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(
        *("import", "mlflow=maths", f"uri={store}", "arm=method", "seed=data/seed"),
        *("accuracy=val/acc", "responses=samples", "evaluation_responses=50"),
    )
    assert "imported from the MLflow experiment maths: grpo 1, sfpo 2; baseline grpo" in capsys.readouterr().out
    comparison = load_comparison(tmp_path / "results" / "maths")
    frame = curves_frame(comparison)
    assert frame[["arm", "seed", "step", "responses", "accuracy", "n"]].values.tolist()[:2] == [
        ["grpo", 1, 0, 0, 0.1, 50],
        ["grpo", 1, 10, 640, 0.3, 50],
    ]
    states = {(run.arm, run.seed): run.status.value for run in comparison.runs}
    assert states == {("grpo", 1): "finished", ("sfpo", 1): "finished", ("sfpo", 2): "failed"}


def resumed_store(folder: Path) -> str:
    """A run that was logged to step 30, resumed from 10 and logged to 20; then a number that is none."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    one = client.create_run(client.create_experiment("maths"), run_name="grpo")
    client.log_param(one.info.run_id, "seed", "0")
    for time, (step, value) in enumerate(((0, 0.1), (10, 0.2), (20, 0.8), (30, 0.9), (20, 0.3)), 1):
        client.log_metric(one.info.run_id, "accuracy", value, step=step, timestamp=time)
    client.log_metric(one.info.run_id, "seconds", math.nan, step=20, timestamp=9)
    client.log_metric(one.info.run_id, "tokens", -math.inf, step=20, timestamp=9)
    return uri


def test_a_resumed_run_of_a_store_and_what_is_no_number_in_it(tmp_path: Path) -> None:
    from sfpo_bench.tracking.stored_runs import ClientRuns, stored_runs

    uri = resumed_store(tmp_path)
    [log] = mlflow_runs(uri, "maths", Names())
    assert [(row.step, row.values["accuracy"]) for row in log.rows] == [(0, 0.1), (10, 0.2), (20, 0.3), (30, 0.9)]
    assert log.notes == ("run grpo: 1 values at steps that were logged again were replaced by later ones, of accuracy",)
    assert log.rows[2].unread == {"seconds": "nan", "tokens": "-inf"}
    [log] = mlflow_runs(uri, "maths", Names(), later_wins=True)
    assert [(row.step, row.values["accuracy"]) for row in log.rows] == [(0, 0.1), (10, 0.2), (20, 0.3)]
    fields = Fields(accuracy="accuracy", costs={CostAxis.train_seconds: "seconds"})
    with pytest.raises(ConfigError, match="run grpo, step 20, column seconds: found 'nan'"):
        imported_run(log, fields, StatedCosts())
    for store in (stored_runs(uri), ClientRuns(uri, uri)):
        [info] = store.of_experiment("maths")
        assert math.isnan(info.latest["seconds"]) and info.latest["tokens"] == -math.inf


def test_runs_of_a_store_must_tell_their_arm_and_seed(store: str) -> None:
    runs = mlflow_runs(store, "maths", Names(seed="data/seed"))
    assert [(log.arm, log.seed, log.state) for log in runs] == [
        ("grpo-1", 1, RunState.finished),
        ("sfpo-1", 1, RunState.finished),
        ("sfpo-2", 2, RunState.failed),
    ]
    with pytest.raises(
        ConfigError, match=r"run grpo-1 has no tag or parameter 'seed'.*seed=NAME, one of method, data/seed"
    ):
        mlflow_runs(store, "maths", Names())
    with pytest.raises(ConfigError, match="run grpo-1: method is 'grpo'; expected a whole number"):
        mlflow_runs(store, "maths", Names(seed="method"))
    assert runs[0].notes[0] == "run idle-1 logged no metric and is left out"
    with pytest.raises(MissingDataError, match=r"has no experiment 'chess'; its experiments are .*maths"):
        mlflow_runs(store, "chess", Names())


def test_a_client_gives_the_runs_of_an_experiment_as_the_file_does(store: str) -> None:
    from sfpo_bench.tracking.stored_runs import ClientRuns, stored_runs

    direct, asked = stored_runs(store).of_experiment("maths"), ClientRuns(store, store).of_experiment("maths")
    assert [(one.run_id, one.name, one.params) for one in direct] == [
        (one.run_id, one.name, one.params) for one in asked
    ]
    assert ClientRuns(store, store).of_experiment("chess") == []
    assert ClientRuns(store, store).experiments() == stored_runs(store).experiments()
