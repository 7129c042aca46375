"""Evaluations in slots: the same samples as in one process, wherever they were generated and whoever was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from sfpo_bench.core.types import FinishReason
from sfpo_bench.evaluation.generation import missing
from sfpo_bench.evaluation.run import plan
from sfpo_bench.evaluation.share import deal
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.sample_store import Sample, SampleStore
from sfpo_bench.settings.config import to_settings
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.launcher import LocalLauncher
from sfpo_bench.settings.models import EmbeddedModel
from sfpo_bench.settings.rollout import TransformersRollout
from sfpo_bench.settings.training import Precision
from tests.conftest import TINY, Cli, command
from tests.evaluation.test_evaluate import NO_MODEL, SMALL, only_folder, table
from tests.extras import needs_launcher

EVALUATE = ("evaluate", "suite=embedded", *SMALL, "tracking=none")


def test_parts_of_several_writers_are_all_kept(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        for number in range(5):
            name = f"{writer}-{number}"
            SampleStore(tmp_path).append([Sample("b", name, name, "0", 0, 1, "text", 1, FinishReason.stopped)])

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {sample.problem_id for sample in SampleStore(tmp_path).samples()} == {
        f"{writer}-{number}" for writer in range(4) for number in range(5)
    }


def test_shares_are_disjoint_and_together_all_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = EvaluateSettings(
        suite="embedded",
        model=EmbeddedModel(),
        rollout=TransformersRollout(),
        launcher=LocalLauncher(),
        precision=Precision.float64,
        problems=10,
    )
    asked = plan(settings)
    wanted = missing(asked.benchmarks, 4, asked.store)
    shares = deal(asked, wanted, 3)
    questions = [one for share in shares for one in json.loads((share / "share.json").read_text())["questions"]]
    dealt = [(one["benchmark"], one["key"]) for one in questions]
    assert sorted(dealt) == sorted((one.benchmark, one.prompted.key) for one in wanted) and len(dealt) == 10
    assert [RunFolder(share).status().steps for share in shares] == [16, 12, 12]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    node = OmegaConf.load(tmp_path / shares[0] / "evaluate.yaml")
    assert isinstance(node, DictConfig)
    again = plan(to_settings(node, EvaluateSettings))
    assert again.store.path == tmp_path / asked.store.path and again.sampling == asked.sampling
    assert len(deal(again, wanted[:2], 3)) == 2, "no share is empty"


def test_several_processes_for_one_model_are_refused(cli: Cli) -> None:
    done = cli(*EVALUATE, "launcher.processes_per_run=2", check=False)
    assert done.returncode == 2 and "expected 1: raise the number of slots instead" in done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation by one process."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(command(EVALUATE), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", ["launcher=local slots=2", "launcher=slurm launcher.submit_on=local slots=1", "launcher=ray slots=2"]
)
def test_slots_generate_what_one_process_does(launcher: str, whole: Path, cli: Cli, tmp_path: Path) -> None:
    needs_launcher(launcher.split()[0].partition("=")[2])
    done = cli(*EVALUATE, *launcher.split())
    folder = only_folder(tmp_path)
    pd.testing.assert_frame_equal(table(folder), table(only_folder(whole)))
    assert "samples: " in done.stdout and "60 of 60 samples" in done.stderr
    assert not (folder / "shares").exists()
    again = cli(*EVALUATE, *launcher.split(), prelude=NO_MODEL)
    assert "60 of 60 samples are there" in again.stderr


@pytest.mark.slow
def test_killed_in_slots_it_goes_on_with_any_number_of_them(whole: Path, cli: Cli, tmp_path: Path) -> None:
    with subprocess.Popen(command([*EVALUATE, "slots=2"]), cwd=tmp_path, stderr=subprocess.DEVNULL) as parent:
        while len(list(tmp_path.glob("results/evaluations/*/*/parts/*.parquet"))) < 2 and parent.poll() is None:
            time.sleep(0.01)
        parent.send_signal(signal.SIGKILL)
    done = cli(*EVALUATE, "slots=3")
    assert ": 0 of 60 samples are there" not in done.stderr
    pd.testing.assert_frame_equal(table(only_folder(tmp_path)), table(only_folder(whole)))
    parts = tmp_path.glob("results/evaluations/*/*/parts/*.parquet")
    assert sum(len(pd.read_parquet(part, use_threads=False)) for part in parts) == 60, "nothing was generated twice"


@pytest.mark.slow
def test_the_runs_of_a_comparison_are_evaluated_side_by_side(cli: Cli, tmp_path: Path) -> None:
    arms = ("~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate", "comparison.targets=[]")
    cli("compare", *TINY, *arms, "comparison.seeds=1", "comparison.slots=2", "tracking=none")
    done = cli("evaluate", "run=results/arithmetic", "suite=embedded", *SMALL[1:], "tracking=none", "slots=3")
    assert "2 runs evaluated" in done.stdout
    found = sorted(tmp_path.glob("results/arithmetic/runs/*/seed-0000/evaluations/step-000006/*/table.md"))
    assert len(found) == 2 and all(len(table(file.parent)) == 60 for file in found)
