"""Evaluations ask what they say, on problems that do not move."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from sfpo_bench.core.costs import Costs
from sfpo_bench.core.seeding import uniforms
from sfpo_bench.core.types import (
    Completion,
    EvaluationRecord,
    FinishReason,
    Grade,
    GradeStatus,
    Problem,
    Sampling,
    Split,
)
from sfpo_bench.problems.arithmetic import Arithmetic
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.rollout.encoding import EncodedProblem
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.settings.training import EvaluationSettings
from sfpo_bench.training.checkpoint import CheckpointStore
from sfpo_bench.training.evaluation import EvaluationSet, Evaluator, evaluation_sets
from tests.in_process import sfpo_bench


def problems(split: str, count: int) -> list[EncodedProblem]:
    return [EncodedProblem(Problem(f"{split}/{n}", "", "1"), (n,)) for n in range(count)]


def test_responses_are_spread_over_as_many_problems_as_there_are() -> None:
    settings = EvaluationSettings(responses=100, select_responses=30, greedy_problems=20)
    report, select, greedy = evaluation_sets(settings, problems("report", 500), problems("select", 12))
    assert (report.split, report.mode, len(report.problems), report.samples) == (Split.report, "sampled", 100, 1)
    # 12 problems x 3 samples are the first multiple of 12 that is at least 30
    assert (select.split, select.mode, len(select.problems), select.samples) == (Split.select, "sampled", 12, 3)
    assert (greedy.split, greedy.mode, len(greedy.problems), greedy.samples) == (Split.report, "greedy", 20, 1)


def test_every_run_is_asked_the_same_problems() -> None:
    settings = EvaluationSettings(responses=50)
    first, second = (evaluation_sets(settings, problems("report", 300), problems("select", 9))[0] for _ in range(2))
    assert first == second
    assert len({item.problem.id for item in first.problems}) == 50


def test_the_draws_of_two_splits_have_nothing_to_do_with_each_other() -> None:
    settings = EvaluationSettings(responses=50, select_responses=50)
    asked = evaluation_sets(settings, problems("report", 300), problems("select", 300))[:2]
    places = [[item.prompt_ids[0] for item in evaluated.problems] for evaluated in asked]
    assert places[0] != places[1]


def test_nothing_asked_is_nothing_measured() -> None:
    settings = EvaluationSettings(responses=0, select_responses=5, greedy_problems=0)
    assert [
        evaluated.split for evaluated in evaluation_sets(settings, problems("report", 3), problems("select", 5))
    ] == [Split.select]


class Dice:
    """An engine whose answers are made of its noise alone: right below 1/2, cut off from 3/4 on; greedy ones are right.
    It keeps the first number of every stream that it was given."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        found = []
        for request in requests:
            for sample in request.samples:
                [[draw]] = uniforms([noise.key(request.problem_id, sample)], 1).tolist()
                self.drawn.append(draw)
                right = draw < 0.5 or sampling.temperature == 0
                end = FinishReason.stopped if right or draw < 0.75 else FinishReason.truncated
                text = request.problem_id.split("/")[1] if right else "x"
                found.append(Completion(request.problem_id, sample, request.prompt_ids, (1,), (0.0,), text, end))
        return found

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """It has none."""

    def free_memory(self) -> None:
        """It has nothing to give back."""

    def metrics(self) -> Mapping[str, float]:
        return {}

    def started(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        """It has nothing to let go of."""


def asked(*, seed: int = 0, step: int = 1, samples: int = 3) -> tuple[list[EvaluationRecord], list[float]]:
    """Records of both splits, sampled, and of the report split, greedily, and the noise behind them; the problem
    `x/n` of either split has the answer n."""
    engine = Dice()
    problems = {
        split: tuple(
            EncodedProblem(Problem(f"x/{n}", f"{n}+0=", str(n)), (n,)) for n in range(20 if split == "report" else 7)
        )
        for split in ("report", "select")
    }
    evaluated = [
        EvaluationSet(Split.report, problems["report"], samples, 1.0),
        EvaluationSet(Split.select, problems["select"], samples, 1.0),
        EvaluationSet(Split.report, problems["report"], 1, 0.0),
    ]
    return Evaluator(engine, Arithmetic(), evaluated, 8, seed).evaluate(step, Costs(prompts=5)), engine.drawn


def test_accuracy_is_the_share_of_right_answers_over_all_responses() -> None:
    """Counted from the noise by hand: an answer is right where its first number is below 1/2."""
    (report, select, greedy), drawn = asked()
    assert (report.n, select.n, greedy.n) == (60, 21, 20)
    assert (report.problems, select.problems, greedy.problems) == (20, 7, 20)
    assert report.accuracy == sum(draw < 0.5 for draw in drawn[:60]) / 60
    assert select.accuracy == sum(draw < 0.5 for draw in drawn[60:81]) / 21
    assert greedy.accuracy == 1.0
    assert report.truncated == sum(draw >= 0.75 for draw in drawn[:60]) not in (0, 60)
    assert select.truncated == sum(draw >= 0.75 for draw in drawn[60:81]) and greedy.truncated == 0
    assert report.costs == Costs(prompts=5) and (report.step, report.temperature, greedy.temperature) == (1, 1.0, 0.0)


def test_no_two_responses_of_a_run_share_their_noise_and_a_repeated_evaluation_has_it_again() -> None:
    """Over steps, splits, modes, problems, samples and seeds."""
    drawn = [draw for seed in (0, 1) for step in (0, 1, 2) for draw in asked(seed=seed, step=step)[1]]
    assert len(set(drawn)) == len(drawn) == 6 * 101
    assert asked(seed=1, step=2)[1] == drawn[-101:]


def test_rollouts_of_a_policy_that_stands_still_differ_from_step_to_step_and_from_seed_to_seed(tmp_path: Path) -> None:
    """As many problems a step as there are, and a rate of nothing: but for the noise every step would be the same."""
    files = {"path": (3, 5, 7), "select_path": (2,), "report_path": (4,)}
    for key, numbers in files.items():
        rows = [{"problem": f"{n}*2+1=", "answer": f"{2 * n + 1}"} for n in numbers]
        (tmp_path / f"{key}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = []
    for seed in (0, 1):
        done = sfpo_bench(
            tmp_path,
            *("train", "tracking=none", "task=jsonl", f"seed={seed}", f"name=seed{seed}"),
            *("task.chat=false", "task.prompt_template='{problem}'", f"task.grader={__name__}:alike"),
            *(f"task.{key}={tmp_path / key}.jsonl" for key in files),
            *("learner.learning_rate=1e-30", "rollout.prompts=3", "rollout.group=8", "training.steps=3"),
            *("training.samples_every=1", "evaluation.responses=1", "evaluation.select_responses=0"),
            "evaluation.greedy_problems=0",
        )
        assert done.code == 0, done.out + done.err
        lines = next(tmp_path.glob(f"results/runs/seed{seed}-*/samples.jsonl")).read_text().splitlines()
        samples = [json.loads(line) for line in lines]
        for step in (1, 2, 3):
            ordered = sorted((s["problem"], s["sample"], s["response"]) for s in samples if s["step"] == step)
            assert len(ordered) == 24
            seen.append(tuple(ordered))
    assert len(set(seen)) == 6


def alike(problem: Problem, text: str) -> Grade:
    """A grader for which every answer is as good as another: no advantage, no step."""
    return Grade(GradeStatus.wrong, 0.0, None)


SELECT = {0: 4, 2: 1, 4: 2, 6: 2, 7: 0}  # right answers of four, by the steps of a run's evaluations
REPORT = {0: 0, 2: 1, 4: 2, 6: 3, 7: 4}
graded = Counter[str]()


def as_told(problem: Problem, text: str) -> Grade:
    """A grader that knows which evaluation this is from how often it was asked: each asks every problem once."""
    split, _, place = problem.answer.partition(" ")
    graded[problem.answer] += 1
    told = {"select": SELECT, "report": REPORT}.get(split)
    right = told is not None and int(place) < list(told.values())[graded[problem.answer] - 1]
    return Grade(GradeStatus.correct if right else GradeStatus.wrong, 0.0, None)


def test_the_best_checkpoint_is_the_first_of_the_highest_accuracy_on_select_problems_once_trained(
    tmp_path: Path,
) -> None:
    """Neither the start, which is better, nor the later one as good, nor the last, which is best on report problems.
    Every so many steps are evaluated, and the last one."""
    graded.clear()
    splits = {"train": (1, "path"), "select": (2, "select_path"), "report": (3, "report_path")}
    for split, (factor, key) in splits.items():
        rows = [{"problem": f"{factor}*{n}+2=", "answer": f"{split} {n}"} for n in range(4)]
        (tmp_path / f"{key}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = sfpo_bench(
        tmp_path,
        *("train", "tracking=none", "task=jsonl", "name=told", "training.steps=7", "training.evaluate_every=2"),
        *("task.chat=false", "task.prompt_template='{problem}'", f"task.grader={__name__}:as_told"),
        *(f"task.{key}={tmp_path / key}.jsonl" for _, key in splits.values()),
        *("rollout.prompts=1", "rollout.group=2", "rollout.max_new_tokens=2", "training.checkpoint_every=50"),
        *("evaluation.responses=4", "evaluation.select_responses=4", "evaluation.greedy_problems=0"),
    )
    assert done.code == 0, done.out + done.err
    [run] = tmp_path.glob("results/runs/*")
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    for split, told in (("select", SELECT), ("report", REPORT)):
        found = {r["step"]: r["accuracy"] for r in records if r["kind"] == "evaluation" and r["split"] == split}
        assert found == {step: right / 4 for step, right in told.items()}
    store = CheckpointStore(RunFolder(run).checkpoints)
    last = store.newest()
    assert last is not None and (last.step, last.state().best_step, last.state().best_accuracy) == (7, 4, 0.5)
    assert [checkpoint.step for checkpoint in store.all()] == [4, 7], "no other was due"
