"""A sweep small enough for a test: six steps of sixteen responses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import command

TINY_SWEEP = """
defaults: [train, _self_]
name: tiny
rollout: {prompts: 4, group: 4}
training: {steps: 4, evaluate_every: 1, checkpoint_every: 2, samples_every: 4}
evaluation: {responses: 0, select_responses: 16, greedy_problems: 0}
tracking: {store: none}
sweep:
  parameters:
    rate: {key: learner.learning_rate, kind: log, low: 1e-5, high: 1e-2}
    group: {key: rollout.group, kind: categorical, choices: [2, 4]}
  trials: 5
  startup_trials: 2
  rungs: 2
  warmup_rungs: 0
  slots: 1
  lease_seconds: 1
"""


def sweep(folder: Path, *more: str, prelude: str = "", text: str = TINY_SWEEP) -> subprocess.CompletedProcess[str]:
    """`sfpo-bench sweep tiny.yaml` as a user runs it."""
    (folder / "tiny.yaml").write_text(text)
    line = command(("sweep", "tiny.yaml", *more), prelude)
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=600)


def trials(folder: Path, name: str = "tiny") -> list[dict[str, Any]]:
    """The trials of trials.json without their times."""
    content = json.loads((folder / "results" / "sweeps" / name / "trials.json").read_text())
    found: list[dict[str, Any]] = content["trials"]
    return [{key: value for key, value in trial.items() if not key.endswith("unix_s")} for trial in found]
