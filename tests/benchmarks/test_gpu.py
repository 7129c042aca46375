"""The GPU benchmark, on the processor: it trains, reads the journal and writes its table; without a GPU it says so."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_settings_are_measured_and_written(gpu: ModuleType, tmp_path: Path) -> None:
    for name in [name for name in gpu.SETTINGS if not name.startswith("arithmetic")]:
        del gpu.SETTINGS[name]
    gpu.main(tmp_path, 4, "cpu")
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [one["name"] for one in found["settings"]] == ["arithmetic, GRPO", "arithmetic, SFPO"]
    for one in found["settings"]:
        assert 0.5 < sum(one["shares"].values()) <= 1.01 and one["memory_max_gb"] > 0.1
        assert 0 < one["utilisation_mean"] < 64
        assert one["generated_tokens_per_second"] > one["responses_per_second"] > 0
    assert (tmp_path / "gpu.md").read_text().count("| arithmetic") == 2


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "out")], env={"PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 1 and "no GPU here" in done.stderr and not (tmp_path / "out").exists()
