"""The GPU benchmark, on the processor: its table and its numbers; without a GPU it says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import CONTESTANTS, SETTINGS, Measured, rows

ROOT = Path(__file__).parents[2]
# What a machine with torch and transformers alone lacks.
ABSENT = [
    "omegaconf",
    "hydra",
    "optuna",
    "mlflow",
    "pandas",
    "matplotlib",
    "pyarrow",
    "scipy",
    "sklearn",
    "math_verify",
    "flint",
    "vllm",
    "trl",
]
ALONE = f"""
import importlib.util, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] in {ABSENT!r} else find(name)
sys.argv = ["gpu", *sys.argv[1:]]
import runpy
runpy.run_module("benchmarks.gpu", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("contestant", [name for name in CONTESTANTS if name != "TRL"])
def test_a_contestant_is_measured_with_torch_and_transformers_alone(contestant: str) -> None:
    command = [sys.executable, "-c", ALONE, "--one", "arithmetic", contestant, "2", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = Measured(**json.loads(done.stdout.splitlines()[-1]))
    assert found.step_s > 0 and abs(found.sampling_share + found.update_share - 1) < 1e-9
    assert found.sampled_tokens_per_second > 0 and found.trained_tokens_per_second > 0
    assert 0 < found.flops_utilization < 1 and found.memory_gb > 0.1 and found.scalar_reads > 0
    assert (found.reposition_share > 0) == contestant.startswith("SFPO")


@pytest.mark.slow
def test_the_command_writes_a_table_with_what_failed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", str(tmp_path), "1", "cpu", "arithmetic", "no-such-shape"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())["found"]
    assert {one["setting"]: bool(one["failure"]) for one in found} == {"arithmetic": False, "no-such-shape": True}
    table = (tmp_path / "gpu.md").read_text()
    assert table.count("| arithmetic |") == table.count("KeyError") == len(found) // 2


def test_shapes_are_those_of_the_models() -> None:
    found = {name: setting.shape.parameters for name, setting in SETTINGS.items()}
    assert found == {"arithmetic": 108_224, "SmolLM2-135M": 134_515_008, "1.5B": 1_543_714_304}


def test_a_row_has_as_many_cells_as_the_head() -> None:
    head, _, *cells = rows([Measured("a", "b", "out of memory"), Measured("a", "c", step_s=1.0, scalar_reads=6)])
    assert {line.count("|") for line in (head, *cells)} == {head.count("|")}


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "benchmarks.gpu", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "no GPU here" in done.stderr and not (tmp_path / "out").exists()
