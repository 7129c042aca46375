"""What a sweep refuses before anything runs, and that every packaged sweep passes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.resources import carried
from sfpo_bench.core.tracking import TrackingStore
from sfpo_bench.experiments.sweep.plan import PreparedSweep, composer, plan_of
from sfpo_bench.search.overrides import split_overrides
from sfpo_bench.settings.config import from_node
from sfpo_bench.settings.search import Kind
from sfpo_bench.training.run import plain_node
from tests.cli.test_messages import NO_TORCH
from tests.conftest import Cli
from tests.sweep.tiny import TINY_SWEEP

PACKAGED = sorted(path.stem for path in carried("sweeps").glob("*.yaml"))


@contextmanager
def planned(name: str, folder: Path, *overrides: str) -> Iterator[PreparedSweep]:
    """The plan of the sweep file `name` in `folder`."""
    register()
    path = ["hydra.searchpath=[pkg://sfpo_bench.conf]", *overrides]
    with initialize_config_dir(str(folder), **VERSION_BASE):
        node = compose(name, path)
        yield plan_of(from_node(plain_node(node, {"comparison": {}})), composer(name, path))


@pytest.mark.parametrize("name", PACKAGED)
def test_every_packaged_sweep_is_a_plan(name: str) -> None:
    with planned(name, carried("sweeps")) as plan:
        assert plan.name == name and plan.trials > 0 and plan.config.evaluation.responses == 0
        assert plan.settings.first_seed >= 100, "the seeds of the comparisons stay unused"
        nodes: list[DictConfig] = [plan.node(point) for point in plan.space.corners()]
        assert len({node.name for node in nodes}) == 1


def test_a_packaged_sweep_is_what_its_file_says() -> None:
    with planned("k_alpha_lr", carried("sweeps")) as plan:
        node = plan.node({"fast_passes": 5, "alpha": 0.25, "learning_rate": 3e-4})
        assert node.algorithm.update_rule.fast_passes == 5 and node.algorithm.update_rule.alpha == 0.25
        assert node.algorithm.update_rule.trigger.kind == "none" and node.learner.learning_rate == 3e-4
        assert node.training.steps == 60 and node.tracking.store == TrackingStore.none.value


def test_equal_responses_mean_more_steps_for_smaller_batches() -> None:
    with planned("batch_group", carried("sweeps")) as plan:
        steps = [
            plan.node({"prompts": p, "group": g, "learning_rate": 1e-4}).training.steps for p, g in ((8, 4), (64, 16))
        ]
        assert steps == [480, 15]


WRONG = {
    "sweep": "no sweep is named; expected sfpo-bench sweep NAME, one of batch_group",
    "sweep nowhere": "nowhere is neither a file nor a packaged sweep",
    "sweep nowhere.yaml": "nowhere.yaml is neither a file nor a packaged sweep",
    "sweep tiny.yaml learner.learning_rate=1": "the sweep searches learner.learning_rate itself, as rate",
    "sweep tiny.yaml sweep.parameters.rate.low=-1": "on a logarithmic scale; expected a number above 0",
    "sweep tiny.yaml sweep.parameters.rate.hihg=1": "did you mean high?",
    "sweep tiny.yaml sweep.parameters.group.choices=[1,4]": "set rollout.group to at least 2",
    "sweep tiny.yaml sweep.parameters.rate.key=learner.learning_rat": "learner.learning_rat",
    "sweep tiny.yaml sweep.split=report": "use sweep.split=select, or say that you want it",
    "sweep tiny.yaml sweep.split=report sweep.choose_on_report=true": "set evaluation.responses above 0",
    "sweep tiny.yaml evaluation.select_suite=embedded": "or ask for it by name, evaluation.allow_report=embedded",
    "sweep tiny.yaml evaluation.select_suite=nowhere": "'nowhere' is not a suite or a benchmark",
    "sweep tiny.yaml evaluation.select_suite=select evaluation.data.dir=nowhere": "no math_test4500.jsonl in nowhere",
    "sweep tiny.yaml sweep.sampler=grid": "a grid needs values",
    "sweep tiny.yaml sweep.sampler=nsga2": "nsga2 is for two goals",
    "sweep tiny.yaml sweep.sampler=cmaes": "expected at least 2: use tpe",
    "sweep tiny.yaml sweep.pruner=wilcoxon": "set at least 3",
    "sweep tiny.yaml sweep.goals.a.axis=tokens": "is not known beforehand",
    "sweep tiny.yaml sweep.goals.a.target=50": "sweep.goals.a.target = 50 is out of range: expected (0, 1]",
    "sweep tiny.yaml sweep.goals.a.target=nan": "sweep.goals.a.target = nan is out of range",
    "sweep tiny.yaml sweep.parameters.rate.points=-2": "sweep.parameters.rate.points = -2 is out of range",
    "sweep tiny.yaml sweep.trials=0": "sweep.trials = 0 means the whole grid",
    "sweep tiny.yaml sweep.storage=mysql://x": "sweep.storage begins with 'mysql'",
    "sweep tiny.yaml name=a/b": "name = 'a/b' cannot be the name of a folder",
    "compare tune=nowhere": "comparison.tune = 'nowhere' is neither a file nor a packaged sweep",
    "compare tune=learning_rate comparison.first_seed=95": "meet those of the comparison, 95 to 104",
}


@pytest.mark.parametrize("line", list(WRONG))
def test_wrong_input_is_refused_at_once_without_torch(line: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SWEEP)
    done = cli(*line.split(), check=False, prelude=NO_TORCH)
    assert WRONG[line] in done.stderr, done.stdout + done.stderr
    assert done.returncode == 2 and "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_sweep_overrides_of_hydra_become_a_space() -> None:
    arguments = [
        "seed=3",
        "algorithm=grpo,sfpo",
        "a.rate=tag(log,interval(1e-5,1e-3))",
        "b.rate=interval(1,9)",
        "n=range(2,9,3)",
    ]
    parameters, fixed = split_overrides(arguments)
    assert fixed == ["seed=3"] and list(parameters) == ["algorithm", "rate", "b_rate", "n"]
    assert parameters["algorithm"].choices == ["grpo", "sfpo"] and parameters["n"].choices == [2, 5, 8]
    assert (parameters["rate"].kind, parameters["b_rate"].kind) == (Kind.log, Kind.float)


@pytest.mark.slow
def test_the_multirun_of_train_is_a_sweep(cli: Cli, tmp_path: Path) -> None:
    small = ("rollout.prompts=4", "rollout.group=4", "training.steps=2", "evaluation.responses=0", "tracking=none")
    few = ("evaluation.select_responses=8", "evaluation.greedy_problems=0", "sweep.slots=1", "name=many")
    started = time.monotonic()
    done = cli("train", "--multirun", *small, *few, "algorithm=grpo,sfpo")
    assert "2 trials of 2 wanted: 2 complete" in done.stdout and time.monotonic() - started < 300
    assert (tmp_path / "results/sweeps/many/trials/trial-0001/seed-0100/status.json").is_file()
    assert not (tmp_path / "multirun").exists()


@pytest.mark.slow
def test_arms_are_tuned_alike_and_the_end_of_the_range_is_extended_once(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rates.yaml").write_text(
        "evaluation: {responses: 0, select_responses: 16, greedy_problems: 0}\n"
        "sweep:\n"
        "  parameters: {learning_rate: {key: learner.learning_rate, kind: log, low: 1e-4, high: 2e-4, points: 2}}\n"
        "  sampler: grid\n  trials: 0\n  pruner: none\n"
    )
    small = ("rollout.prompts=4", "rollout.group=4", "training.steps=2", "training.evaluate_every=1", "tracking=none")
    few = ("evaluation.responses=8", "evaluation.select_responses=8", "comparison.seeds=1", "comparison.slots=1")
    done = cli(
        "compare", "tune=rates.yaml", "name=t", *small, *few, "~comparison.arms.repeat", "comparison.targets=[0.9]"
    )
    assert "tuning: results/t/tuning.md" in done.stdout
    table = (tmp_path / "results/t/tuning.md").read_text()
    assert "| grpo |" in table and "| sfpo |" in table and "grpo_sfpo_rate" not in table
    assert r"learning\_rate: extended once" in table, "both values of a grid of two are ends"
    names = {path.name for path in (tmp_path / "results/sweeps").iterdir()}
    assert names == {"t-rates-grpo", "t-rates-grpo-extended", "t-rates-sfpo", "t-rates-sfpo-extended"}
    weights = {path.relative_to(tmp_path / "results").parts[0] for path in (tmp_path / "results").rglob("weights.*")}
    assert weights == {"t"}, "trials leave no weights, runs of the comparison do"
