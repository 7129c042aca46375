"""A league small enough for a test: four methods, three seeds, three steps."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import command

TINY_LEAGUE = """
defaults:
  - study
  - override study: league
  - override tracking: none
  - _self_
name: tiny
rollout: {prompts: 4, group: 4}
training: {steps: 3, evaluate_every: 1, checkpoint_every: 2, samples_every: 4}
evaluation: {responses: 24, select_responses: 16, greedy_problems: 0}
comparison: {seeds: 3, slots: 1, tune: tiny_sweep.yaml, targets: [0.05, 0.1]}
study:
  league:
    methods: [grpo, cispo, grpo+repeat, repeat]
"""
TINY_SWEEP = """
defaults: [train, _self_]
name: tiny_sweep
evaluation: {responses: 0, select_responses: 16, greedy_problems: 0}
sweep:
  parameters:
    learning_rate: {key: learner.learning_rate, kind: categorical, choices: [1e-4, 4e-4]}
  sampler: grid
  trials: 0
  pruner: none
  lease_seconds: 1
"""
# Whoever trains fails.
NO_TRAINING = """
import sfpo_bench.workers.slots as slots
def refused(self, job): raise AssertionError(f"{job} was trained")
slots.WorkerSlots.start = refused
"""
IN_THE_TABLE = """
import os, signal
import sfpo_bench.reports.league.write as write
write.simple_page = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
"""
FILES = ("league.md", "league.html", "league.tex", "league.csv", "league_pairs.csv", "league.png", "tuning.csv")


def league(folder: Path, *more: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """`sfpo-bench study tiny.yaml` as a user runs it."""
    (folder / "tiny.yaml").write_text(TINY_LEAGUE)
    (folder / "tiny_sweep.yaml").write_text(TINY_SWEEP)
    line = command(("study", "tiny.yaml", *more), prelude)
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=900)


def place(folder: Path, name: str = "tiny") -> Path:
    return folder / "results" / "studies" / name
