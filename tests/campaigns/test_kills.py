"""The campaign of kills: its comparison notices what a kill could do, and a short form of it runs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.campaigns.faults import FAULTS, PowerLoss, lose_unsynced
from tests.campaigns.kills import campaign, cases, record_of, said
from tests.campaigns.left_behind import differences, left_behind
from tests.processes import children, descendants


def results(folder: Path) -> Path:
    run = folder / "results" / "runs" / "one"
    (run / "checkpoints" / "step-000002").mkdir(parents=True)
    save_file({"weights": torch.zeros(2)}, run / "checkpoints" / "step-000002" / "weights.safetensors")
    (run / "journal.jsonl").write_text('{"step": 1, "loss": 0.5, "time_unix_s": 5.0}\n')
    return folder / "results"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("runs/one/journal.jsonl", '{"step": 1, "loss": 0.5, "time_unix_s": 9.0}\n', []),
        ("runs/one/journal.jsonl", '{"step": 1, "loss": 0.6, "time_unix_s": 5.0}\n', ["differs"]),
        ("runs/one/journal.jsonl", '{"step": 1, "loss": 0.5, "time_unix_s": 5.0}\n' * 2, ["differs"]),
        ("runs/one/checkpoints/step-000002/weights.safetensors", "weighty", ["differs"]),
        ("runs/two/journal.jsonl", "", ["too much"]),
    ],
)
def test_results_are_equal_but_for_times(tmp_path: Path, file: str, content: str, said: list[str]) -> None:
    whole, killed = results(tmp_path / "whole"), results(tmp_path / "killed")
    (killed / file).parent.mkdir(exist_ok=True)
    (killed / file).write_text(content)
    found = differences(left_behind(whole), left_behind(killed))
    assert [one.partition(":")[0] for one in found] == said


def test_shards_are_equal_whichever_rank_wrote_what_all_of_them_hold(tmp_path: Path) -> None:
    places: dict[str, list[dict[str, torch.Tensor]]] = {
        "one": [{"weights": torch.zeros(2), "step": torch.ones(1)}, {"weights": torch.ones(2)}],
        "other": [{"weights": torch.zeros(2)}, {"step": torch.ones(1), "weights": torch.ones(2)}],
        "exchanged": [{"weights": torch.ones(2), "step": torch.ones(1)}, {"weights": torch.zeros(2)}],
    }
    for name, shards in places.items():
        folder = tmp_path / name / "checkpoints" / "step-000002" / "optimizer"
        folder.mkdir(parents=True)
        for rank, tensors in enumerate(shards):
            about = json.dumps({"weights": {"saved_offsets": [2 * rank]}})
            save_file(tensors, folder / f"shard-{rank}.safetensors", {"DCP_SHARDING_INFO": about})
    one, other, exchanged = (left_behind(tmp_path / name) for name in places)
    assert one == other and differences(one, exchanged) == ["differs: checkpoints/step-000002/optimizer"]


def pruned_trial(folder: Path, steps: int, loss: float) -> Path:
    """A trial of 8 responses a step, judged at half of a budget of 32, whose run heard of it after `steps` steps."""
    sweep = folder / "results" / "sweeps" / "tiny"
    run = sweep / "trials" / "trial-0000" / "seed-0100"
    (run / "checkpoints" / f"step-{steps:06d}").mkdir(parents=True)
    save_file({"weights": torch.tensor([steps])}, run / "checkpoints" / f"step-{steps:06d}" / "weights.safetensors")
    rows: list[dict[str, object]] = [
        {"kind": kind, "step": step, "loss": loss, "costs": {"responses": 8 * step}}
        for step in range(1, steps + 1)
        for kind in ("step", "evaluation")
    ]
    (run / "journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    goals = {"area": {"axis": "responses", "budget": 32.0}}
    (sweep / "sweep.json").write_text(json.dumps({"goals": goals, "search": {"seeds": 1, "rungs": 4}}))
    trials = [{"number": 0, "state": "pruned", "rungs": {"1": 0.1, "2": 0.2}}]
    (sweep / "trials.json").write_text(json.dumps({"trials": trials}))
    return folder / "results"


def test_pruned_runs_are_equal_up_to_the_step_at_which_they_were_judged(tmp_path: Path) -> None:
    found = {
        (steps, loss): left_behind(pruned_trial(tmp_path / f"{steps} {loss}", steps, loss))
        for steps, loss in ((2, 0.5), (3, 0.5), (4, 0.5), (3, 0.6))
    }
    assert found[2, 0.5] == found[3, 0.5] == found[4, 0.5]
    [said] = differences(found[2, 0.5], found[3, 0.6])
    assert said.startswith("differs") and said.endswith("journal.jsonl")


def test_processes_below_a_process_are_found_however_deep(tmp_path: Path) -> None:
    nested = f"import subprocess, sys; subprocess.run([{sys.executable!r}, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen(
        [sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "1\n"
        assert descendants(parent.pid) == children(parent.pid) and len(children(parent.pid)) == 1
        parent.communicate("\n", timeout=60)


def test_every_packaged_algorithm_is_killed() -> None:
    assert {"train sfpo", "train grpo", "compare", "study", "sweep tpe", "evaluate"} <= cases().keys()
    assert len(cases()) > 50


def test_what_was_synced_outlasts_a_loss_of_power_and_nothing_else_has_to(tmp_path: Path) -> None:
    results, synced = tmp_path / "results", tmp_path / "synced"
    results.mkdir()
    code = f"""
import os, pathlib
from sfpo_bench.results.stored_files import write_atomically
folder = pathlib.Path({str(results)!r})
write_atomically(folder / "whole", "whole")
with open(folder / "begun", "wb") as out:
    out.write(b"synced"); out.flush(); os.fsync(out.fileno())
    out.write(b", and more")
(folder / "never").write_bytes(b"never synced")
for content in (b"old", b"new"):
    with open(folder / "partial", "wb") as out:
        out.write(content); out.flush(); os.fsync(out.fileno())
    os.replace(folder / "partial", folder / "renamed")
"""
    left: dict[str, set[bytes | None]] = {name: set() for name in ("whole", "begun", "never", "renamed")}
    for seed in range(60):
        for path in (*results.iterdir(), *(synced.iterdir() if synced.exists() else ())):
            path.unlink()
        environment = {**os.environ, **PowerLoss().environment(tmp_path)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        lose_unsynced(results, synced, random.Random(seed))
        for name, found in left.items():
            path = results / name
            found.add(path.read_bytes() if path.exists() else None)
        if seed == 20 and all(len(left[name]) > 1 for name in ("begun", "never", "renamed")):
            break
    assert left["whole"] == {b"whole"}
    assert b"synced" in left["begun"] and all(found and found.startswith(b"synced") for found in left["begun"])
    assert {None, b"", b"never synced"} <= left["never"]
    # The first rename is not synced either: nothing need be left of both.
    assert left["renamed"] == {None, b"new"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"kill"}))
def test_a_command_goes_on_after_any_fault_of_the_machine(fault: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    rounds = campaign(tmp_path, 3, seed, ["train sfpo_paper", "sweep grid"], fault)
    assert not [one for one in rounds if one.wrong], f"seed {seed}: {said(rounds)}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_short_campaign_finds_equal_results_and_goes_on_where_it_was(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    only = ["train sfpo_paper", "compare", "sweep grid", "evaluate"]
    rounds = campaign(tmp_path, 6, seed, only)
    assert not [one for one in rounds if one.wrong], f"seed {seed}: {said(rounds)}"
    assert sum(len(one.kills) for one in rounds) >= 6
    with record_of(tmp_path, seed, only).open("a") as lines:
        lines.write(json.dumps({"number": len(rounds)})[:5])  # as a kill leaves it
    assert campaign(tmp_path, 6, seed, only) == rounds
