"""Checkpoints are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.core.costs import Costs
from sfpo_bench.core.errors import CheckpointError, DiskFullError
from sfpo_bench.training.checkpoint import CheckpointStore, TrainingState, require_space
from sfpo_bench.training.master_weights import MasterWeights


def masters(seed: int = 0, width: int = 8) -> MasterWeights:
    """A small layer that has taken one AdamW step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Linear(width, width)
    made = MasterWeights(layer, lambda weights: torch.optim.AdamW(weights, lr=0.1))
    made.zero_gradients()
    ((1 + seed) * layer(torch.ones(width)).sum()).backward()
    made.step()
    return made


def state(step: int, best_step: int = -1) -> TrainingState:
    return TrainingState(
        step, Costs(prompts=step), {"fired": False, "entropies": [0.5]}, 100 * step, 10, best_step, 0.5
    )


def test_what_is_written_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store, written, read = CheckpointStore(tmp_path), masters(0), masters(1)
    store.write(written, state(7))
    newest = store.newest()
    assert newest is not None and newest.state() == state(7)
    differ = read.optimizer_tensors()
    assert not torch.equal(differ["weight/exp_avg"], written.optimizer_tensors()["weight/exp_avg"])
    newest.load_into(read)
    assert all(torch.equal(read.masters[name], weight) for name, weight in written.masters.items())
    after, before = read.optimizer_tensors(), written.optimizer_tensors()
    assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)


def test_an_anchor_that_is_waited_for_is_written_and_comes_back(tmp_path: Path) -> None:
    store, written, read = CheckpointStore(tmp_path), masters(0), masters(1)
    assert not (store.write(written, state(1)).path / "anchor.safetensors").exists()
    written.snapshot(Moments.restore)
    store.write(written, state(2)).load_into(read)
    after, before = read.anchor_tensors(), written.anchor_tensors()
    assert set(before) > set(written.masters) and after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    written.reposition(0.5, Moments.restore)
    store.write(written, state(3)).load_into(read)
    assert read.anchor_tensors() == {}


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    for step in range(1, 7):
        store.write(masters(), state(step, best_step=2 if step >= 2 else -1))
    assert [checkpoint.step for checkpoint in store.all()] == [2, 5, 6]


def test_the_weights_of_every_so_many_steps_are_kept_for_good_and_a_resume_finds_what_it_needs(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1, keep_every=2)
    for step in range(1, 8):
        store.write(masters(step), state(step, best_step=1))
    assert [checkpoint.step for checkpoint in store.all()] == [1, 2, 4, 6, 7]
    for checkpoint in store.all():
        assert len(checkpoint.weights_files) == 1
        assert (checkpoint.path / "optimizer.safetensors").is_file() == (checkpoint.step == 7)
    newest, kept, read = store.newest(), store.at(4), masters(0)
    assert newest is not None and kept is not None
    newest.load_into(read)
    with pytest.raises(CheckpointError, match="does not hold this model's weights and optimizer state"):
        kept.load_into(read)


def test_half_written_folders_are_no_checkpoints_and_are_swept_away(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.write(masters(), state(3))
    (tmp_path / ".partial-000004").mkdir()
    (tmp_path / "step-000001").mkdir()
    assert [checkpoint.step for checkpoint in store.all()] == [3]
    store.sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003"]


def _write_with_small_files(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        CheckpointStore(folder).write(masters(width=64), state(2))
    except DiskFullError as error:
        assert "earlier checkpoints are whole" in str(error)
        raise SystemExit(7) from None


def test_a_write_that_fails_leaves_the_one_before_whole(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.write(masters(), state(1))
    process = multiprocessing.get_context("spawn").Process(target=_write_with_small_files, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 7
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    newest = store.newest()
    assert newest is not None
    newest.load_into(masters(1))


def test_too_little_space_is_found_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.write(masters(), state(1))
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=1000))
    with pytest.raises(DiskFullError, match=r"0 MB are free .* expected at least 67 MB"):
        store.write(masters(), state(2))
    assert [checkpoint.step for checkpoint in store.all()] == [1]


def test_space_is_asked_of_the_file_system_that_will_hold_a_folder_not_yet_made(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet", 1000)
    with pytest.raises(DiskFullError):
        require_space(tmp_path / "not" / "yet", 10**18)


def test_damage_is_named_with_what_to_do(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    written = store.write(masters(), state(1))
    [weights_file] = written.weights_files
    content = weights_file.read_bytes()
    weights_file.write_bytes(content[:-10])
    with pytest.raises(CheckpointError, match="remove that folder to resume from the one before"):
        written.load_into(masters())
    with pytest.raises(CheckpointError, match="does not hold this model's weights"):
        weights_file.write_bytes(content)
        written.load_into(masters(width=4))
    (written.path / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        written.state()
