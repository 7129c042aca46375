"""Disk that runs keep is asked for before the first of them starts, and is what they really keep."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra import compose, initialize_config_module

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.errors import DiskFullError
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.experiments.comparison.room import require_room
from sfpo_bench.experiments.plan import plan
from sfpo_bench.models.load import shape_of
from sfpo_bench.settings.config import RunConfig, from_node
from sfpo_bench.training.checkpoint import _SPARE_BYTES
from tests.conftest import TINY, Cli


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def composed(*overrides: str) -> RunConfig:
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        return from_node(compose("train", list(overrides)))


@pytest.mark.slow
@pytest.mark.parametrize("keep_every", [0, 1, 3])
def test_a_run_keeps_as_much_as_was_said(keep_every: int, cli: Cli, tmp_path: Path) -> None:
    overrides = (*TINY, f"training.keep_every={keep_every}", "training.keep_last=1")
    cli("train", *overrides, "tracking=none", "run_name=kept")
    config = composed(*overrides)
    said = plan(config, shape_of(config.model)).kept_bytes
    files = (tmp_path / "results/runs/kept/checkpoints").rglob("*.safetensors")
    kept = sum(path.stat().st_size for path in files)
    weights = 4 * 108_224
    assert said - 2 * weights <= kept <= 1.05 * said, "the best may be the last, or one that is kept anyway"


def test_room_is_asked_for_all_runs_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed("training.keep_every=15")
    found = plan(config, shape_of(config.model))
    needed = 40 * found.kept_bytes + 2 * found.checkpoint_bytes
    for free, enough in ((needed + 10**8, True), (needed - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: Usage(free, 0, free))
        if enough:
            require_room(tmp_path, [config] * 40, 2)
        else:
            with pytest.raises(DiskFullError, match=f"expected at least {(needed + _SPARE_BYTES) / 1e6:.0f}"):
                require_room(tmp_path, [config] * 40, 2)


def test_runs_of_an_unknown_size_are_left_to_ask_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 0, 1))
    require_room(tmp_path, [composed("experiment=own", f"model.path={tmp_path}", "task=arithmetic")], 2)
