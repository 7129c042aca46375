"""`train` and what can be done with its run: show, list, export, reproduce, continue, sync."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sfpo_bench.models.arithmetic_character import FOLDER, build_tokenizer
from tests.conftest import TINY, Cli
from tests.training.policies import policy

RUN = Path("results/runs/arithmetic-sfpo-seed0")
TRAIN = ("train", "algorithm=sfpo", "tracking=none", *TINY)


@pytest.fixture
def trained(tmp_path: Path, cli: Cli) -> Path:
    cli(*TRAIN)
    return tmp_path / RUN


def test_a_run_can_be_shown_listed_exported_and_reproduced_from_its_saved_configuration(
    trained: Path, tmp_path: Path, cli: Cli
) -> None:
    shown = cli("show", str(RUN), "step=4", "groups=1").stdout
    assert "step 4: 16 responses to 4 problems" in shown
    assert all(word in shown for word in ("answer:", "response", "extracted", "reward", "advantage"))
    assert shown.count("stopped") + shown.count("truncated") == 4
    assert "stored are steps 1, 2, 4, 6" in cli("show", str(RUN), "step=5", check=False).stderr

    listed = cli("list").stdout
    assert f"run {RUN}  finished, step 6 of 6, accuracy" in listed and "(n = 24) at step 6" in listed

    cli("export", str(RUN), "out=model")
    assert "exists already" in cli("export", str(RUN), "out=model", check=False).stderr
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    weights = load_file(trained / "checkpoints" / "step-000006" / "weights.safetensors")
    assert all(torch.equal(parameter, weights[name]) for name, parameter in exported.named_parameters())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.decode(tokenizer("7*8-35=")["input_ids"]) == "7*8-35="
    assert "accuracy" in cli("export", str(RUN), "checkpoint=best", "out=best").stdout

    again = cli("train", "--config-dir", str(trained), "--config-name", "config", "run_name=again").stdout
    assert "finished: results/runs/again" in again
    other = load_file(tmp_path / "results/runs/again/checkpoints/step-000006/weights.safetensors")
    assert all(torch.equal(other[name], weight) for name, weight in weights.items())


def test_a_finished_run_is_left_alone_made_longer_or_refused(trained: Path, cli: Cli) -> None:
    assert "is finished already" in cli(*TRAIN).stdout
    journal = (trained / "journal.jsonl").read_text()
    refused = cli(*TRAIN, "learner.learning_rate=1e-5", check=False)
    assert refused.returncode == 2 and "learner.learning_rate: 0.0004 -> 1e-05" in refused.stderr
    shorter = cli(*TRAIN, "training.steps=4", check=False)
    assert shorter.returncode == 2 and "a run can only be made longer" in shorter.stderr
    assert (trained / "journal.jsonl").read_text() == journal
    cli(*TRAIN, "training.steps=8")
    assert (trained / "journal.jsonl").read_text().startswith(journal)
    assert json.loads((trained / "status.json").read_text()) == {
        "state": "finished",
        "step": 8,
        "steps": 8,
        "cause": "",
        "at_target": False,
    }


def test_sync_delivers_what_was_not(trained: Path, tmp_path: Path, cli: Cli, migrated_database: Path) -> None:
    shutil.copy(migrated_database, tmp_path / "results" / "mlflow.db")
    left = cli("sync").stdout
    assert "0 runs: " in left and "1 of tracking=none were left alone; untracked=true delivers them too" in left
    assert "1 runs: " in cli("sync", "untracked=true").stdout
    assert "1 runs: 0 records delivered, 1 runs were complete" in cli("sync").stdout
    with closing(sqlite3.connect(tmp_path / "results" / "mlflow.db")) as connection:
        assert connection.execute("SELECT name, status FROM runs").fetchall() == [(RUN.name, "FINISHED")]
        [(steps,)] = connection.execute("SELECT count(*) FROM metrics WHERE key = 'reward_mean'").fetchall()
    assert steps == 6
    names = {path.name for path in (tmp_path / "results" / "mlartifacts").rglob("*") if path.is_file()}
    assert {"config.yaml", "provenance.json", "curves.parquet", "samples.parquet"} <= names


# The process dies at the moment when its run is finished.
KILLED_WHEN_FINISHED = """
import os, signal
from sfpo_bench.results.run_folder import RunFolder
write = RunFolder.write_status
def write_and_die(folder, status):
    write(folder, status)
    if status.state == "finished":
        os.kill(os.getpid(), signal.SIGKILL)
RunFolder.write_status = write_and_die
"""


def test_a_run_that_ended_before_its_delivery_did_is_delivered_by_the_same_command(
    tmp_path: Path, cli: Cli, migrated_database: Path
) -> None:
    """As a kill leaves it: after the run's end, before or within the delivery of that end."""
    database = tmp_path / "results" / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(migrated_database, database)
    tracked = [argument for argument in TRAIN if argument != "tracking=none"]

    def stored() -> tuple[list[str], int, set[str]]:
        with closing(sqlite3.connect(database)) as connection:
            statuses = [status for (status,) in connection.execute("SELECT status FROM runs")]
            [(points,)] = connection.execute("SELECT count(*) FROM metrics").fetchall()
        return statuses, points, {path.name for path in (tmp_path / "results" / "mlartifacts").rglob("*.*")}

    assert cli(*tracked, prelude=KILLED_WHEN_FINISHED, check=False).returncode == -9
    assert stored()[0] == ["RUNNING"]
    assert "is finished already" in cli(*tracked).stdout
    delivery = tmp_path / RUN / "delivery.json"
    whole, written = stored(), json.loads(delivery.read_text())
    assert whole[0] == ["FINISHED"] and {"config.yaml", "curves.parquet", "samples.parquet"} <= whole[2]
    before = database.read_bytes()
    assert "is finished already" in cli(*tracked).stdout and database.read_bytes() == before

    # A process that is left nothing but the end, because the last checkpoint is there, has opened no run.
    (tmp_path / "results" / "mlartifacts").rename(tmp_path / "first")
    delivery.write_text(json.dumps({**written, "artifacts": {}, "ending": None, "ended": False}))
    status = tmp_path / RUN / "status.json"
    status.write_text(status.read_text().replace("finished", "running"))
    assert "finished: " in cli(*tracked).stdout and stored() == whole
    written = json.loads(delivery.read_text())

    (tmp_path / "results" / "mlartifacts").rename(tmp_path / "second")
    delivery.write_text(json.dumps({**written, "artifacts": {}, "ended": False}))
    assert "is finished already" in cli(*tracked).stdout and stored() == whole
    assert json.loads(delivery.read_text()) == written


FAILING = """
from sfpo_bench.core.errors import RunFailed
from sfpo_bench.training.trainer import Trainer
def fail(self, step):
    raise RunFailed("no step here")
Trainer._step = fail
"""


def test_a_run_that_failed_before_its_first_checkpoint_is_in_the_store_with_its_cause(
    tmp_path: Path, cli: Cli, migrated_database: Path
) -> None:
    (tmp_path / "results").mkdir()
    shutil.copy(migrated_database, tmp_path / "results" / "mlflow.db")
    tracked = [argument for argument in TRAIN if argument != "tracking=none"]
    done = cli(*tracked, prelude=FAILING, check=False)
    assert done.returncode == 1 and done.stderr.count("no step here") == 1 and "Traceback" not in done.stderr
    with closing(sqlite3.connect(tmp_path / "results" / "mlflow.db")) as connection:
        assert connection.execute("SELECT name, status FROM runs").fetchall() == [(RUN.name, "FAILED")]
        cause = connection.execute("SELECT value FROM tags WHERE key = 'sfpo_bench.cause'").fetchall()
    assert cause == [("no step here",)]


def test_a_folder_that_cannot_be_written_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli(*TRAIN, "output_root=file", check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "file" in done.stderr


def test_every_recorded_scalar_is_declared_and_every_declared_one_is_recorded(trained: Path) -> None:
    from sfpo_bench.core.metric_keys import COLLECTOR_METRICS, STEP_METRICS
    from sfpo_bench.core.types import StepRecord
    from sfpo_bench.results.journal import read_journal

    steps = [record for record in read_journal(trained / "journal.jsonl") if isinstance(record, StepRecord)]
    recorded = {key for record in steps for key in record.metrics}
    of_vllm = {"parity_max", "parity_mean", "parity_bound", "parity_seconds", "engine_restarts", "cached_prompt_share"}
    # Six steps do not fill the trigger's window, a CPU is no device, and no reward is flipped.
    absent = {"trigger_z", "device_peak_bytes", "flipped_rewards"}
    assert recorded == set(STEP_METRICS) - absent - of_vllm - set(COLLECTOR_METRICS)
    for record in steps:
        parts = ("rollout", "grading", "update", "push")
        assert sum(record.metrics[f"{part}_seconds"] for part in parts) <= record.metrics["step_seconds"]
        assert 0 < sum(record.metrics[f"{part}_share"] for part in parts) <= 1
        assert 0 < record.metrics["reposition_seconds"] < record.metrics["step_seconds"]
        assert record.metrics["alpha"] == 0.8 and -1 <= record.metrics["fast_slow_cosine"] <= 1


def test_the_trigger_switches_the_fast_stage_off_from_the_next_step_on_and_says_so(tmp_path: Path, cli: Cli) -> None:
    cli(*TRAIN, "algorithm/update_rule/trigger=fixed_step", "algorithm.update_rule.trigger.last_step=3")
    records = [json.loads(line) for line in (tmp_path / RUN / "journal.jsonl").read_text().splitlines()]
    stages = {r["step"]: [stage["stage"] for stage in r["stages"]] for r in records if r["kind"] == "step"}
    assert stages == {step: ["fast_1", "fast_2", "fast_3", "slow"] if step <= 3 else ["slow"] for step in range(1, 7)}
    assert [(r["step"], r["event"]) for r in records if r["kind"] == "event"] == [(3, "trigger_fired")]
    assert [r["metrics"]["alpha"] for r in records if r["kind"] == "step"] == [0.8] * 3 + [0.0] * 3


def test_any_causal_model_trains_on_any_jsonl(tmp_path: Path, cli: Cli) -> None:
    """A random Llama with an untied head, problems of the user's own, raw prompts, in bf16."""
    model = policy(dtype=torch.float32, tied=False, kind="llama")
    model.save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    lines = [json.dumps({"problem": f"{a}+{b}=", "answer": str(a + b)}) for a in range(10) for b in range(10)]
    (tmp_path / "problems.jsonl").write_text("\n".join(lines))
    own = (
        "experiment=own",
        "model=hf",
        "model.path=model",
        "task=jsonl",
        "task.path=problems.jsonl",
        "task.chat=false",
    )
    cli("train", *own, "task.prompt_template='{problem}'", "rollout.max_new_tokens=5", "learner.precision=bfloat16",
        "algorithm=sfpo", "tracking=none", *TINY)  # fmt: skip
    run = tmp_path / "results/runs/own-sfpo-seed0"
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    weights = load_file(run / "checkpoints/step-000006/weights.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}, "checkpoints hold the fp32 masters"
    unknown = cli("train", *own, "run_name=unknown", "tracking=none", *TINY, check=False)
    assert unknown.returncode == 2 and "characters that the model's tokenizer lacks" in unknown.stderr
    plain = (*own, "task.prompt_template='{problem}'", "rollout.max_prompt_tokens=2")
    long = cli("train", *plain, "run_name=x", "tracking=none", *TINY, check=False)
    assert long.returncode == 2 and "rollout.over_long=drop" in long.stderr
    lines += [json.dumps({"problem": f"{a}+{b}+{a}=", "answer": "1"}) for a in range(10) for b in range(10)]
    (tmp_path / "problems.jsonl").write_text("\n".join(lines))
    cli("train", *own, "task.prompt_template='{problem}'", "rollout.max_prompt_tokens=4", "rollout.over_long=drop",
        "rollout.max_new_tokens=5", "run_name=dropped", "tracking=none", *TINY)  # fmt: skip
    first = json.loads((tmp_path / "results/runs/dropped/journal.jsonl").read_text().splitlines()[0])
    assert first["event"] == "over_long_prompts_dropped" and sum(first["detail"].values()) == 100


def test_the_shipped_warm_start_is_what_its_card_says() -> None:
    import hashlib

    card = (FOLDER / "README.md").read_text()
    assert hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest() in card
    weights = load_file(FOLDER / "model.safetensors")
    assert sum(weight.numel() for weight in weights.values()) == 108_224


@pytest.mark.slow
def test_the_warm_start_is_made_again_bit_for_bit(tmp_path: Path, cli: Cli) -> None:
    import subprocess
    import sys

    made = [sys.executable, "-m", "sfpo_bench.models.arithmetic_character", str(tmp_path / "made")]
    subprocess.run(made, check=True, capture_output=True)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "made" / name).read_bytes() == (FOLDER / name).read_bytes(), name
