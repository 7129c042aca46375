"""A user's own objective, rule, reference, phases, task and reward load from an installed wheel, without a fork."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY, command

PLUGIN = """
from dataclasses import dataclass, replace

from sfpo_bench.algorithms import Advantage, Collected, Critic, Phases, Reference, Selection
from sfpo_bench.algorithms.collectors.group import GroupCollector
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.update_rules import OnePass
from sfpo_bench.core.options import option
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.core.types import Grade, GradeStatus


@dataclass
class Wide(Clipped):
    kind: str = option("wide", "name")
    width: float = option(0.5, "clip range", above=0.0)

    def __post_init__(self):
        self.clip_high = self.width


@dataclass
class Twice(OnePass):
    kind: str = option("twice", "name")
    passes: int = option(2, "passes", low=1)

    def update(self, learner, batch):
        return tuple(learner.optimize(batch, name) for name in ("first", "second", "third")[: self.passes])


@dataclass
class Halfway(Reference):
    kind: str = option("halfway", "name")
    every: int = option(2, "steps", low=1)

    def follow(self, step):
        return 0.5 if step % self.every == 0 else 0.0


@dataclass
class OnePassFirst(Phases):
    kind: str = option("one_pass_first", "name")
    steps: int = option(2, "steps", low=0)

    def __post_init__(self):
        self._first = OnePass()

    def at(self, step, own):
        return replace(own, rule=self._first) if step <= self.steps else own


@dataclass
class Fewer(GroupCollector):
    kind: str = option("fewer", "name")
    problems: int = option(2, "problems", low=1)

    def __post_init__(self):
        self._taken = 0

    def collect(self, source):
        self._taken += 1
        return Collected(source.roll_out(source.problems[: self.problems]), {"taken": float(self._taken)})

    def state(self):
        return {"taken": self._taken}

    def restore(self, state):
        self._taken = state["taken"]


@dataclass
class Halved(Selection):
    kind: str = option("halved", "name")

    def weights(self, candidates):
        return candidates.advantages_PG.new_full(candidates.advantages_PG.shape, 0.5)


@dataclass
class Pair(Critic):
    kind: str = option("pair", "name")

    names = ("even", "odd")

    def share(self, name, rewarded, source):
        of_group_PG = rewarded.lengths_PG.new_ones(rewarded.lengths_PG.shape).cumsum(dim=1)
        return of_group_PG % 2 == (name == "odd")


@dataclass
class Surprise(Advantage):
    kind: str = option("surprise", "name")

    modules = ("even", "odd")

    def advantages(self, rewarded):
        expected_BT = (rewarded.scores["even"] + rewarded.scores["odd"]) / 2
        return (rewarded.rewards_PG.reshape(-1, 1) - expected_BT) * rewarded.mask_BT


@dataclass
class Sums(Arithmetic):
    kind: str = option("sums", "name")

    def problems(self, split):
        return [problem for problem in super().problems(split) if "+" in problem.text]


def polite(problem, response):
    right = problem.answer in response
    return Grade(GradeStatus.correct if right else GradeStatus.wrong, 2.0 if right else 0.0, response)
"""

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "my-methods"
version = "1.0"
[tool.setuptools]
py-modules = ["my_methods"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the user's wheel was installed."""
    source = tmp_path_factory.mktemp("source")
    (source / "my_methods.py").write_text(PLUGIN)
    (source / "pyproject.toml").write_text(PYPROJECT)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(source)], check=True, capture_output=True
    )
    [wheel] = (source / "dist").glob("*.whl")
    site = source / "site"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True)
    return site


def train(folder: Path, site: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        command(("train", "tracking=none", *TINY, *overrides)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


OBJECTIVE = ("algorithm/objective=custom", "algorithm.objective.factory=my_methods:Wide")


def test_what_an_installed_package_has_for_each_seam_trains(installed: Path, tmp_path: Path) -> None:
    mine = (
        *OBJECTIVE,
        "algorithm.objective.options.width=0.7",
        "algorithm.objective.options.kl_coefficient=0.1",
        *("algorithm/update_rule=custom", "algorithm.update_rule.factory=my_methods:Twice"),
        *("algorithm/reference=custom", "algorithm.reference.factory=my_methods:Halfway"),
        *("algorithm/phases=custom", "algorithm.phases.factory=my_methods:OnePassFirst"),
        "algorithm.phases.options.steps=3",
        *("algorithm/selection=custom", "algorithm.selection.factory=my_methods:Halved"),
        *("algorithm/collector=custom", "algorithm.collector.factory=my_methods:Fewer"),
        *("algorithm/modules=custom", "algorithm.modules.factory=my_methods:Pair"),
        "algorithm.modules.options.learning_rate=0.001",
        *("algorithm/advantage=custom", "algorithm.advantage.factory=my_methods:Surprise"),
        *("task=custom", "task.factory=my_methods:Sums", "algorithm.name=mine"),
    )
    for steps in (4, 6):
        done = train(tmp_path, installed, *mine, f"training.steps={steps}")
        assert done.returncode == 0, done.stderr
    run = tmp_path / "results" / "runs" / "arithmetic-mine-seed0"
    lines = [line for line in (run / "journal.jsonl").read_text().splitlines() if '"kind": "step"' in line]
    assert ['"stage": "second"' in line for line in lines] == [False] * 3 + [True] * 3
    written = {path.stem for path in (run / "checkpoints" / "step-000006").glob("*.safetensors")}
    assert {"reference", "even-weights", "odd-optimizer"} <= written
    records = [json.loads(line) for line in lines]
    assert [record["metrics"]["taken"] for record in records] == [1, 2, 3, 4, 5, 6], "it is told what it remembered"
    assert [record["metrics"]["odd/optimizer_steps"] for record in records] == [1] * 6
    assert [record["costs"]["prompts"] for record in records] == [2, 4, 6, 8, 10, 12]
    samples = (run / "samples.jsonl").read_text().splitlines()
    assert samples and all("+" in line.split('"problem": ')[1][:12] for line in samples)


@pytest.mark.slow
def test_a_reward_of_an_installed_package_grades_a_jsonl_task(installed: Path, tmp_path: Path) -> None:
    lines = [f'{{"problem": "{a}*{b}+10=", "answer": "{a * b + 10}"}}' for a in range(2, 10) for b in range(2, 10)]
    (tmp_path / "problems.jsonl").write_text("\n".join(lines))
    task = ("task=jsonl", "task.path=problems.jsonl", "task.chat=false", "task.prompt_template='{problem}'")
    done = train(tmp_path, installed, *task, "task.grader=my_methods:polite")
    assert done.returncode == 0, done.stderr
    samples = (tmp_path / "results" / "runs" / "arithmetic-grpo-seed0" / "samples.jsonl").read_text()
    assert '"reward": 2.0' in samples


@pytest.mark.slow
def test_options_of_ones_own_class_are_checked(installed: Path, tmp_path: Path) -> None:
    unknown = train(tmp_path, installed, *OBJECTIVE, "algorithm.objective.options.wdth=0.7")
    assert unknown.returncode == 2 and "did you mean width?" in unknown.stderr
    rule = ("algorithm/update_rule=custom", "algorithm.update_rule.factory=my_methods:Twice")
    low = train(tmp_path, installed, *rule, "algorithm.update_rule.options.passes=0")
    assert low.returncode == 2 and "algorithm.update_rule.passes = 0 is out of range" in low.stderr
