"""A study small enough for a test: two arms, two seeds, four steps, twenty problems; and ways to kill it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import command

TINY_STUDY = """
defaults:
  - study
  - override study: arithmetic
  - override tracking: none
  - _self_
name: tiny
rollout: {prompts: 4, group: 4}
training: {steps: 4, evaluate_every: 1, checkpoint_every: 2, samples_every: 4, keep_every: 1}
evaluation: {responses: 24, select_responses: 16, greedy_problems: 0}
comparison: {seeds: 2, slots: 2, tune: tiny_sweep.yaml, targets: [0.05]}
study:
  evaluation: {problems: 20, sampling: {samples: 2}, batch_responses: 8}
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
TWO_ARMS = ("~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate")

# Dies just before or just after a part is written down.
AT_A_JOINT = """
import os, signal
from sfpo_bench.results.study import StudyFolder
write = StudyFolder.write_part
def dying(self, part, record):
    if part == {part!r} and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, part, record)
    if part == {part!r}:
        os.kill(os.getpid(), signal.SIGKILL)
StudyFolder.write_part = dying
"""
# Dies as soon as a file that matches is there.
AT_A_FILE = """
import os, pathlib, signal, threading, time
def watch():
    while not any(pathlib.Path("results/studies/tiny").glob({pattern!r})):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
"""
IN_THE_SCORES = """
import os, signal
import sfpo_bench.experiments.study.page as page
page.write_paper_tables = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
"""
NO_MODEL = "import sys; sys.modules['sfpo_bench.evaluation.model_engine'] = None  # whoever loads a model fails"
NO_TRAINING = "import sys; sys.modules['sfpo_bench.experiments.sweep.runner'] = None  # whoever sweeps fails"


def study(folder: Path, *more: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """`sfpo-bench study tiny.yaml` as a user runs it."""
    (folder / "tiny.yaml").write_text(TINY_STUDY)
    (folder / "tiny_sweep.yaml").write_text(TINY_SWEEP)
    line = command(("study", "tiny.yaml", *TWO_ARMS, *more), prelude)
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=600)


def place(folder: Path) -> Path:
    return folder / "results" / "studies" / "tiny"
