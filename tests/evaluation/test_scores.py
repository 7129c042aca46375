"""Scores of arms and their differences: against slow references on small sheets, and in the limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.types import FinishReason, GradeStatus
from sfpo_bench.evaluation.graded_benchmark import GradedBenchmark, GradedProblem, graded_benchmarks
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.scores import AVERAGE, ScoredArm, arm_scores, arms_of, best_arms, differences, unlike
from sfpo_bench.evaluation.tables import differences_frame, scores_blocks, scores_frame, write_tables
from sfpo_bench.reports.document import Table, plain
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.results.evaluation import Asked, ModelPin, Owner
from sfpo_bench.results.sample_store import GradedSample, Sample, SamplingIdentity
from sfpo_bench.statistics import holm_adjusted
from sfpo_bench.statistics.crossed import difference_interval, difference_spread
from sfpo_bench.statistics.permutation import run_permutation_p


def graded(benchmark: str, classes: np.ndarray) -> GradedBenchmark:
    """A graded from answer classes [P, K]."""
    samples = classes.shape[1]
    answers = [
        GradedProblem(
            key=f"{benchmark}{number:04d}",
            id=f"{benchmark}/{number}",
            classes=tuple(row),
            truncated=(False,) * samples,
            answered=tuple(one >= 0 for one in row),
            boxed=(True,) * samples,
            undecided=(False,) * samples,
            tokens=(10,) * samples,
        )
        for number, row in enumerate(classes.tolist())
    ]
    return GradedBenchmark(benchmark, tuple(answers))


def evaluation(
    name: str, chances: dict[str, float], *, seed: int | None = None, draw: int = 0, shared: tuple[str, ...] = ()
) -> Evaluation:
    """An evaluation whose answers are right with these chances, drawn from `draw`."""
    random = np.random.default_rng(draw)
    sheets = {
        benchmark: graded(benchmark, np.where(random.random((40, 4)) < chance, 0, random.integers(-1, 4, (40, 4))))
        for benchmark, chance in chances.items()
    }
    sampling = SamplingIdentity(f"{name}{seed}", "transformers", "float32", 1.0, 1.0, 256, 0)
    asked = Asked("own", "report", 4, {b: "boxed 1" for b in chances}, {b: 40 for b in chances}, shared={"t": shared})
    owner = Owner(f"{name} {seed}", name, seed, None, "", ModelPin(name, "", ""))
    return Evaluation(Path(f"/nowhere/{name}/{seed}/{draw}"), owner, sampling, asked, sheets, "")


def arm(name: str, chances: dict[str, float], draws: tuple[int, ...] = (0,), **changes: tuple[str, ...]) -> ScoredArm:
    return ScoredArm(name, tuple(evaluation(name, chances, seed=draw, draw=draw, **changes) for draw in draws))


CHANCES = {"math500": 0.5, "aime24": 0.1}


def test_scores_are_means_over_problems_of_means_over_samples() -> None:
    """Slow reference: loops over the classes."""
    model = arm("a", CHANCES)
    found = arm_scores(model, "avg", 4)
    for benchmark in CHANCES:
        rows = [one.classes for one in model.evaluations[0].graded[benchmark].problems]
        assert found[benchmark].mean == pytest.approx(sum(sum(c == 0 for c in row) / 4 for row in rows) / len(rows))
        assert found[benchmark].interval.contains(found[benchmark].mean) and found[benchmark].problems == 40
    assert found[AVERAGE].mean == pytest.approx((found["math500"].mean + found["aime24"].mean) / 2)


def test_no_score_at_more_samples_than_there_are() -> None:
    assert arm_scores(arm("a", CHANCES), "pass", 5) == {}
    assert "not defined" in markdown(scores_blocks([arm("a", CHANCES)], "a", 5))


def test_a_model_against_itself_differs_by_nothing() -> None:
    model = arm("a", CHANCES)
    for found in differences(model, model, "avg", 4).values():
        assert (found.mean, found.interval.low, found.interval.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
        assert found.same_samples
    assert "0: the same samples" in markdown(scores_blocks([model, ScoredArm("b", model.evaluations)], "a", 4))


def test_a_difference_is_the_difference_of_the_scores_on_shared_problems() -> None:
    first, second = arm("a", CHANCES, (1,)), arm("b", CHANCES | {"aime24": 0.6}, (2,))
    found = differences(first, second, "avg", 4)
    ours, theirs = arm_scores(first, "avg", 4), arm_scores(second, "avg", 4)
    for name, one in found.items():
        assert one.mean == pytest.approx(ours[name].mean - theirs[name].mean)
    assert found["aime24"].interval.high < 0 and found["aime24"].p_value < 0.001
    assert found["math500"].interval.contains(0.0)


def test_p_values_are_adjusted_over_the_benchmarks_and_not_over_the_average() -> None:
    found = differences(arm("a", CHANCES, (1,)), arm("b", CHANCES | {"aime24": 0.3}, (2,)), "avg", 4)
    own = [found[name].p_value for name in CHANCES]
    assert [found[name].adjusted_p for name in CHANCES] == list(holm_adjusted(own))
    assert found[AVERAGE].adjusted_p is None


def test_only_problems_that_both_answered_count() -> None:
    first, second = arm("a", {"math500": 0.5}, (1,)), arm("b", {"math500": 0.5}, (2,))
    whole = second.evaluations[0].graded["math500"]
    half = ScoredArm("b", (evaluation("b", {"math500": 0.5}, draw=2),))
    half.evaluations[0].graded["math500"] = whole.only(whole.keys[:10])  # type: ignore[index]  # the mapping of this record is a dict
    assert differences(first, half, "avg", 4)["math500"].problems == 10


@pytest.mark.parametrize(("metric", "samples"), [("avg", 4), ("pass", 1), ("maj", 1)])
def test_pseudo_observations_are_counted_in_samples_for_means_and_once_for_pass_and_majority(
    metric: str, samples: int
) -> None:
    """A mean of 4 samples is 4 observations of a problem; one of its passes, or its majority, is one."""
    first, second = arm("a", {"math500": 0.5}, (1,)), arm("b", {"math500": 0.45}, (2,))
    scores = [one.evaluations[0].graded["math500"].scores(metric, 4) for one in (first, second)]
    assert scores[0] is not None and scores[1] is not None
    spread = difference_spread([scores[0][None]], [scores[1][None]], samples)
    found = differences(first, second, metric, 4)["math500"]
    assert found.interval == difference_interval(spread)
    assert found.interval != difference_interval(difference_spread([scores[0][None]], [scores[1][None]], 5 - samples))


def test_several_runs_of_an_arm_are_averaged_and_widen_the_interval_when_they_differ() -> None:
    alike = ScoredArm("a", tuple(evaluation("a", {"math500": 0.5}, seed=draw, draw=draw) for draw in range(5)))
    apart = ScoredArm(
        "a", tuple(evaluation("a", {"math500": c}, seed=d, draw=d) for d, c in enumerate((0.1, 0.3, 0.5, 0.7, 0.9)))
    )
    near, far = arm_scores(alike, "avg", 4)["math500"], arm_scores(apart, "avg", 4)["math500"]
    assert near.runs == far.runs == 5
    assert near.interval.high - near.interval.low < 0.2 < 0.5 < far.interval.high - far.interval.low
    found = differences(apart, alike, "avg", 4)["math500"]
    assert found.test == "runs permuted" and found.interval.contains(0.0)


def test_shared_problems_are_left_out_of_every_arm_alike() -> None:
    shared = tuple(f"math500/{number}" for number in range(15))
    trained, other = arm("a", CHANCES, (1,), shared=shared), arm("b", CHANCES, (2,))
    frame = scores_frame([trained, other], 4)
    sizes = (
        frame[(frame.benchmark == "math500") & (frame.metric == "avg")].set_index(["arm", "problems_counted"]).problems
    )
    assert sizes.to_dict() == {
        ("a", "all"): 40, ("b", "all"): 40, ("a", "not in a training set"): 25, ("b", "not in a training set"): 25,
    }  # fmt: skip
    text = markdown(scores_blocks([trained, other], "b", 4))
    assert "## Scores without problems that are in a training set" in text and "15 problems are left out." in text


def test_a_seed_may_stand_in_an_arm_once() -> None:
    with pytest.raises(ConfigError, match="the arm a has two evaluations of seed 3"):
        arms_of([evaluation("a", CHANCES, seed=3, draw=1), evaluation("a", CHANCES, seed=3, draw=2)])
    found = arms_of(
        [evaluation("b", CHANCES, seed=4), evaluation("a", CHANCES, seed=1), evaluation("b", CHANCES, seed=2)]
    )
    assert [(one.name, [e.owner.seed for e in one.evaluations]) for one in found] == [("b", [2, 4]), ("a", [1])]


def test_what_was_asked_otherwise_is_named() -> None:
    first, second = evaluation("a", CHANCES), evaluation("b", CHANCES)
    assert unlike([first, second]) == []
    object.__setattr__(second, "sampling", SamplingIdentity("b", "vllm", "float32", 0.7, 1.0, 256, 0))
    assert unlike([first, second]) == ["temperature: 1.0 and 0.7", "engine: transformers and vllm"]
    assert "Sampled or prompted differently" in markdown(
        scores_blocks([ScoredArm("a", (first,)), ScoredArm("b", (second,))], "a", 4)
    )


def test_the_best_is_the_highest_mean_and_needs_every_benchmark() -> None:
    low, high = arm("low", {"math500": 0.2}, (1,)), arm("high", {"math500": 0.8}, (2,))
    assert [arm.name for arm in best_arms([low, high], "avg", 4, ["math500"])] == ["high"]
    twin = replace(high, name="twin")
    assert [arm.name for arm in best_arms([high, low, twin], "avg", 4, ["math500"])] == ["high", "twin"]
    with pytest.raises(ConfigError, match="low has no avg@4 on aime24"):
        best_arms([low, high], "avg", 4, ["math500", "aime24"])


def test_arms_tie_where_their_means_are_equal_but_for_rounding() -> None:
    """Shares of 0.1, 0.2 and 0.3, whose sum depends on their order in its last bit."""
    names, shares = ("math500", "aime24", "minerva"), (4, 8, 12)
    sheets = [[graded(name, np.arange(40)[:, None] // place) for name, place in zip(names, shares, strict=True)]]
    sheets.append(
        [graded(name, np.arange(40)[:, None] // place) for name, place in zip(names, shares[::-1], strict=True)]
    )
    turned = [arm(name, dict.fromkeys(names, 0.5)) for name in ("rising", "falling")]
    for one, found in zip(turned, sheets, strict=True):
        one.evaluations[0].graded.update({sheet.benchmark: sheet for sheet in found})  # type: ignore[attr-defined]  # the mapping of this record is a dict
    means = [np.mean([arm_scores(one, "avg", 1)[name].mean for name in names]) for one in turned]
    assert means[0] != means[1] and best_arms(turned, "avg", 1, names) == turned


def test_an_average_of_other_benchmarks_than_those_of_all_arms_is_named_after_what_it_is_of() -> None:
    more = [arm("a", CHANCES, (1,)), arm("b", CHANCES | {"minerva": 0.5}, (2,))]
    text = markdown(scores_blocks(more, "a", 4))
    both = ", ".join(CHANCES)
    # In two tables of scores and one of differences.
    assert text.count(f"| {AVERAGE} of {both} |") == 3 and text.count(f"| {AVERAGE} of {both}, minerva |") == 2
    assert f"| {AVERAGE} |" not in text
    alike = markdown(scores_blocks([more[0], arm("b", CHANCES, (2,))], "a", 4))
    assert alike.count(f"| {AVERAGE} |") == 5 and f"{AVERAGE} of" not in alike


def test_the_latex_of_scores_gives_wide_tables_both_columns(tmp_path: Path) -> None:
    text = write_tables([arm("a", CHANCES, (1,)), arm("b", CHANCES, (2,))], "a", 4, tmp_path).latex.read_text()
    for caption in ("Scores on all problems", "Differences to a"):
        opened = text[: text.index(rf"\caption{{{caption}}}")].rsplit(r"\begin{", 1)[1]
        assert opened.startswith("table*}")


def test_tables_are_tables_whatever_the_names() -> None:
    odd = [arm("a|b*c_<d>$&#", CHANCES, (1,)), arm("b", CHANCES, (2,))]
    found = [block for block in scores_blocks(odd, "b", 4) if isinstance(block, Table)]
    assert len(found) == 4  # two of scores, of differences, of responses
    for table in found:
        assert all(len(row) == len(table.header) for row in table.rows)
        assert plain(table.rows[0][0]) == "a|b*c_<d>$&#"
    assert set(differences_frame(odd, "b", 4).arm) == {"a|b*c_<d>$&#"}


def test_runs_change_places_only_where_both_arms_have_several() -> None:
    several, single = arm("a", CHANCES, (1, 2, 3)), arm("b", CHANCES, (4,))
    for pair in ((several, single), (single, several), (single, single)):
        assert {one.test for one in differences(*pair, "avg", 4).values()} == {"answers permuted"}


def test_the_test_of_an_average_is_over_the_average_of_each_run() -> None:
    arms = [arm("a", CHANCES, (1, 2, 3)), arm("b", CHANCES | {"aime24": 0.25}, (4, 5, 6, 7))]
    means = [
        [arm_scores(ScoredArm("one", (run,)), "avg", 4)[AVERAGE].mean for run in scored.evaluations] for scored in arms
    ]
    found = differences(arms[0], arms[1], "avg", 4)
    assert found[AVERAGE].p_value == run_permutation_p(*means) != found["math500"].p_value


def test_there_is_no_average_where_a_benchmark_has_no_score() -> None:
    """Of three, one with a single problem left."""
    model = arm("a", CHANCES | {"minerva": 0.5})
    assert set(arm_scores(model, "avg", 4)) == {*CHANCES, "minerva", AVERAGE}
    found = arm_scores(model, "avg", 4, [f"aime24/{number}" for number in range(1, 40)])
    assert set(found) == {"math500", "minerva"}


def test_equal_means_of_two_models_are_no_proof_that_they_are_one() -> None:
    """The same rows of answers, given to other problems: only the same samples leave nothing open."""
    first, second = arm("a", {"math500": 0.5}), arm("b", {"math500": 0.5})
    sheet = first.evaluations[0].graded["math500"]
    turned = graded("math500", np.array([one.classes for one in sheet.problems])[::-1])
    second.evaluations[0].graded["math500"] = turned  # type: ignore[index]  # the mapping of this record is a dict
    found = differences(first, second, "avg", 4)["math500"]
    assert found.mean == 0.0 and not found.same_samples
    assert found.interval.low < 0 < found.interval.high and found.p_value == 1.0


def stored(sample: int, status: GradeStatus, answer_class: int, text: str = "") -> GradedSample:
    end = FinishReason.truncated if sample == 3 else FinishReason.stopped
    one = Sample("math500", "math500/7", "key", "", sample, sample, text, 10 + sample, end)
    return GradedSample(one, "1", None, "", status, answer_class, "")


def test_samples_stand_by_their_number_in_whatever_order_they_were_stored() -> None:
    """The first answer decides a majority between equal ones."""
    samples = [
        stored(0, GradeStatus.correct, 0, r"\boxed{1}"),
        stored(1, GradeStatus.wrong, 1, r"\boxed{2}"),
        stored(2, GradeStatus.no_answer, -1),
        stored(3, GradeStatus.timeout, 2, r"\boxed{x"),
    ]
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
        [found] = graded_benchmarks([samples[place] for place in order])["math500"].problems
        assert (found.key, found.id) == ("key", "math500/7")
        assert (found.classes, found.tokens) == ((0, 1, -1, 2), (10, 11, 12, 13))
        assert found.answered == (True, True, False, True) and found.undecided == (False, False, False, True)
        assert found.truncated == (False, False, False, True) and found.boxed == (True, True, False, True)
