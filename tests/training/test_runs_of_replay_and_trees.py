"""Whole runs of replay, trees and pruning: killed they end with the same bits; two processes make the run of one."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.training.checkpoint import CheckpointStore
from tests.campaigns.left_behind import without_seconds
from tests.conftest import command
from tests.in_process import sfpo_bench
from tests.training.test_kill_and_resume import _DIE
from tests.training.test_runs_in_several_processes import _same, torchrun
from tests.training.test_runs_with_a_critic import IN_STEP_3, SHORT, ended

METHODS = {
    "replay": ("algorithm=replay", "algorithm.collector.warmup_steps=1"),
    "branches": ("algorithm=branch_grpo_pruned", "algorithm.selection.slide_every=1"),
    "prompts": ("algorithm=dppo_prune", "algorithm.selection.prompt_rate=0.9"),
}


def arguments(name: str, *more: str) -> tuple[str, ...]:
    return ("train", *METHODS[name], *SHORT, "run_name=run", *more)


def steps(run: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == "step"]


def kept(run: Path) -> dict[str, Any]:
    """What the methods of a run remember at its end."""
    state = json.loads((run / "checkpoints" / "step-000003" / "state.json").read_text())
    return {"rule": state["rule"], "collector": state["collector"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(name: str, tmp_path: Path) -> None:
    """Killed in step 3, taken up from step 2."""
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    died = subprocess.run(
        command(arguments(name), _DIE + IN_STEP_3), cwd=tmp_path / "killed", capture_output=True, text=True, timeout=280
    )
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    for folder in ("whole", "killed"):
        done = sfpo_bench(tmp_path / folder, *arguments(name))
        assert done.code == 0, done.err
    whole, killed = (tmp_path / folder / "results" / "runs" / "run" for folder in ("whole", "killed"))
    assert ended(killed) == ended(whole) and kept(killed) == kept(whole)
    found = steps(whole)
    if name == "replay":
        assert [step["metrics"]["replayed_responses"] for step in found] == [0, 8, 8]
        assert [one["updates"] for one in kept(whole)["collector"]["born"]] == [0] * 16 + [1] * 16 + [2] * 16
    elif name == "branches":
        assert kept(whole)["rule"] == {"selection 0: steps": 3}
        assert max(step["metrics"]["shared_tokens_share"] for step in found) > 0
    else:
        assert len(kept(whole)["rule"]) == 12, "the past of each prompt so far"


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_two_processes_make_the_run_of_one(name: str, tmp_path: Path) -> None:
    runs = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        started = torchrun(processes, *arguments(name))
        done = subprocess.run(started, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        runs.append(folder / "results" / "runs" / "run")
    journals = [[without_seconds(step) for step in steps(run)] for run in runs]
    assert _same(journals[1], journals[0])
    one, two = (CheckpointStore(run / "checkpoints").newest() for run in runs)
    assert one is not None and two is not None and _same(_plain(kept(runs[1])), _plain(kept(runs[0])))
    assert max(float((two.weights()[key] - weight).abs().max()) for key, weight in one.weights().items()) < 1e-4


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """Without rows of log-probs, which processes compute to rounding."""
    born = [
        {key: one[key] for key in ("updates", "text", "response_ids")} for one in state["collector"].get("born", [])
    ]
    return {"rule": state["rule"], "born": born}


def test_at_weights_that_do_not_move_a_drawn_response_has_the_ratio_one(tmp_path: Path) -> None:
    done = sfpo_bench(tmp_path, *arguments("replay", "learner.learning_rate=1e-30"))
    assert done.code == 0, done.err
    found = steps(tmp_path / "results" / "runs" / "run")
    assert [step["metrics"]["replayed_responses"] for step in found] == [0, 8, 8]
    for step in found:
        assert step["stages"][0]["ratio_max"] == pytest.approx(1, abs=1e-4)
        assert step["stages"][0]["kl_to_start"] == pytest.approx(0, abs=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("off", "like"),
    [
        (("algorithm=replay", "algorithm.collector.ratio=0"), ("algorithm.objective.clip_high=0.28",)),
        (("algorithm=dppo_prune", "algorithm.selection.rate=0", "algorithm.selection.prompt_rate=0"), ()),
        (("algorithm=branch_grpo", "algorithm.collector.splits=0", "algorithm/advantage=group"), ()),
    ],
    ids=lambda value: value[0] if value else "grpo",
)
def test_what_is_off_changes_no_bit(off: tuple[str, ...], like: tuple[str, ...], tmp_path: Path) -> None:
    found = []
    for name, method in (("off", off), ("grpo", ("algorithm=grpo", *like))):
        done = sfpo_bench(tmp_path, "train", *method, *SHORT, f"run_name={name}")
        assert done.code == 0, done.err
        weights, _, samples = ended(tmp_path / "results" / "runs" / name)
        found.append((weights, samples))
    assert found[0] == found[1]
