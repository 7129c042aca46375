"""The examples for many devices are true: shells read them, and what they train composes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.settings.config import from_node

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("torchrun.*"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_a_shell_reads_it_and_its_settings_compose(example: Path) -> None:
    assert subprocess.run(["bash", "-n", example], capture_output=True).returncode == 0
    text = re.sub(r"\$\([^)]*\)", "x", example.read_text().replace("\\\n", " "))
    lines = [line.partition("-m sfpo_bench train ")[2] for line in text.splitlines() if "-m sfpo_bench train " in line]
    assert len(lines) == 1
    overrides = [word.replace('"', "") for word in lines[0].split() if "=" in word]
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        assert from_node(compose("train", overrides)).algorithm.name == "sfpo"
