"""Curves of the arithmetic experiment do not depend on the engine, beyond the noise of seeds."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from hydra import compose, initialize_config_module
from scipy.stats import ttest_ind

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.core.types import EvaluationRecord, Split, StepRecord
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.training.run import plain_node, prepare, train
from tests.vllm.engines import ON_VLLM

pytestmark = [*ON_VLLM, pytest.mark.slow]
SEEDS = 6
SETTINGS = (
    *("training.steps=24", "training.evaluate_every=4", "training.checkpoint_every=100", "tracking=none"),
    *("evaluation.responses=384", "evaluation.select_responses=0", "evaluation.greedy_problems=0"),
)


def curve(folder: Path, seed: int, *overrides: str) -> tuple[list[float], list[float]]:
    """Sampled accuracies of one run, and the raw ratios of its steps."""
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        node = plain_node(compose("train", [*SETTINGS, f"seed={seed}", *overrides]), {"comparison": {}})
    run = RunFolder(folder)
    prepare(run, node, "cpu")
    train(folder, StopRequest())
    records = read_journal(run.journal)
    accuracies = [r.accuracy for r in records if isinstance(r, EvaluationRecord) and r.split is Split.report]
    return accuracies, [r.metrics["engine_ratio_max"] for r in records if isinstance(r, StepRecord)]


def test_the_arithmetic_experiment_learns_alike_on_both_engines(tmp_path: Path) -> None:
    """Two-sample t-test over seeds of the mean accuracy along the curve, and of the last one. Seeds differ between the
    engines, so that nothing but the method is shared."""
    ours = [curve(tmp_path / f"t{seed}", seed)[0] for seed in range(SEEDS)]
    vllm, ratios = [], []
    for seed in range(SEEDS):
        accuracies, largest = curve(tmp_path / f"v{seed}", 100 + seed, "rollout=vllm", "rollout.kv_cache_mib=64")
        vllm.append(accuracies)
        ratios += largest
    for name, read in (("mean along the curve", fmean), ("last", lambda accuracies: accuracies[-1])):
        a, b = [read(run) for run in ours], [read(run) for run in vllm]
        test = ttest_ind(a, b, equal_var=False)
        low, high = test.confidence_interval(0.95)
        print(f"{name}: transformers {fmean(a):.3f}, vllm {fmean(b):.3f}, difference {low:+.3f} to {high:+.3f} (95 %)")
        assert test.pvalue > 0.01
        assert fmean(a) > 0.15, "both have learned something"
    print(f"largest ratio of trainer and engine in any step: {max(ratios):.6f}")
    assert max(ratios) < 1.001
