"""Published results: averages and ratios follow from the printed columns and steps, or it is said where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.cli import main
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.problems.sets import card
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.papers.pass_shares import published_shares, references
from sfpo_bench.reports.papers.published_curves import (
    accuracy_at,
    authors_curves,
    curve_disagreements,
    first_crossing,
    readings,
)
from sfpo_bench.reports.papers.published_results import (
    Published,
    average,
    disagreements,
    fits_a_count,
    gains,
    published,
    published_scores,
)
from sfpo_bench.reports.papers.published_tables import gains_frame, published_blocks, reading, write_published
from sfpo_bench.reports.papers.score import AVERAGE
from sfpo_bench.statistics import Design, difference_error


@pytest.fixture(scope="module")
def paper() -> Published:
    return published()


def test_the_averages_follow_from_the_columns(paper: Published) -> None:
    assert {f"{average(row):.2f}" == f"{row.average:.2f}" for row in paper.rows} == {True}


def test_the_ratios_follow_from_the_steps(paper: Published) -> None:
    ratios = [f"{cost.baseline.steps / cost.method.steps:.2f}" for cost in paper.costs]
    assert ratios == [f"{cost.prompts_ratio:.2f}" for cost in paper.costs] == ["3.21", "3.50", "4.93"]
    for cost in paper.costs:
        for spent in (cost.baseline, cost.method):
            assert f"{spent.steps * paper.prompts_a_step / 1e4:.2f}" == f"{spent.prompts / 1e4:.2f}"


def test_what_does_not_add_up_is_said_and_nothing_else_is(paper: Published) -> None:
    said = disagreements(paper)
    assert [line.split(":")[0] for line in said] == [
        "amc_aimo83",
        "DeepSeek-R1-Distill-Qwen-1.5B",
        "Qwen3-4B-Base",
        "DeepSeek-R1-Distill-Qwen-7B",
    ]
    assert "70.28 and 83.75" in said[0]
    assert "give 3.20" in said[1] and "give 4.94" in said[3]
    assert "give 2.63, printed is 2.65; hours that were rounded" in said[2]


def test_a_wrong_average_and_wrong_ratios_would_be_said(paper: Published) -> None:
    row = replace(paper.rows[0], average=39.35)
    cost = replace(paper.costs[0], prompts_ratio=3.3, hours_ratio=3.0)
    said = disagreements(replace(paper, rows=(row, *paper.rows[1:]), costs=(cost,)))
    assert said[0].endswith("the columns average to 38.35, printed is 39.35.")
    assert said[2].endswith("385 over 120 steps give 3.21, printed is 3.30.")
    assert said[3].endswith("give 2.62, printed is 3.00.")


@pytest.mark.parametrize(
    ("percent", "answers", "fits"),
    [
        (53.31, 332, True),
        (66.86, 332, True),
        (66.87, 332, True),
        (70.28, 332, False),
        (39.42, 2696, True),
        (0, 30, True),
    ],
)
def test_a_score_fits_a_count_rounded_or_cut(percent: float, answers: int, fits: bool) -> None:
    assert fits_a_count(percent, answers) is fits


def test_the_gains_are_those_of_the_columns_with_the_error_of_their_design(paper: Published) -> None:
    found = {(gain.model, gain.benchmark): gain for gain in gains(paper)}
    gain = found["DeepSeek-R1-Distill-Qwen-7B", "olympiadbench"]
    assert gain.difference == pytest.approx(0.0449)
    assert gain.error == difference_error([(0.6573, 0.6124)], [Design(674, 4)])
    whole = found["Qwen2.5-Math-1.5B", AVERAGE]
    assert f"{100 * whole.difference:.2f}" == "1.84"
    assert whole.error.least < gain.difference < whole.error.most
    # Three more right answers of 120 are within the error even if the two models were paired as closely as can be.
    assert reading(found["DeepSeek-R1-Distill-Qwen-1.5B", "aime24"]) == "within sampling error"
    assert reading(gain) == "depends"


def test_of_three_printed_ratios_the_markers_on_the_authors_own_curves_give_two(paper: Published) -> None:
    curves = authors_curves(paper)
    assert curves is not None
    found = {one.model: one for one in readings(paper, curves)}
    small = found["DeepSeek-R1-Distill-Qwen-1.5B"]
    assert small.markers is not None and small.printed_ratio == 3.21 and f"{small.markers.ratio:.2f}" == "2.19"
    assert small.first_at == pytest.approx(211.25) and f"{small.first_ratio:.2f}" == "1.83"
    assert small.at_printed_step == pytest.approx(47.45)
    assert [one.model for one in found.values() if one.disagrees] == [small.model]
    [said] = curve_disagreements(paper, curves)
    assert "printed ratio is 3.21" in said and "at steps 387 and 177, give 2.19" in said and "47.5" in said
    assert said in markdown(published_blocks(paper)).replace("\\", "")
    covered = next(one for one in curves.models if one.model == "Qwen3-4B-Base")
    assert covered.method[-1][0] == 140, "behind it the figure's label covers the line"


def test_a_reading_between_points_lies_on_the_line_between_them() -> None:
    line = ((0.0, 10.0), (20.0, 30.0), (40.0, 20.0))
    assert [accuracy_at(line, step) for step in (-5, 0, 5, 20, 30, 50)] == [10, 10, 15, 30, 25, 20]
    assert [first_crossing(line, target) for target in (5, 10, 20, 30, 31)] == [0, 0, 10, 20, None]


def test_shares_of_a_pass_follow_from_hours_and_steps(paper: Published) -> None:
    """A step of K + 1 passes takes 1 + K u of the baseline's, and of what another paper spent a part was training."""
    shares = {
        (one.paper, one.model.split("-")[-1] if one.paper == "SFPO" else one.model): one for one in published_shares()
    }
    printed = {key: f"{100 * one.share:.1f}" for key, one in shares.items()}
    assert [printed["SFPO", size] for size in ("1.5B", "Base", "7B")] == ["7.4", "10.9", "5.9"]
    names = ("Qwen2.5-Math-1.5B", "DeepSeek-R1-Distill-Qwen-1.5B", "Qwen2.5-Math-7B")
    assert [printed["GRESO", name] for name in names] == ["15.4", "6.0", "9.0"]
    for cost in paper.costs:
        u = next(one.share for one in shares.values() if (one.paper, one.model) == ("SFPO", cost.model))
        hours = cost.baseline.hours / cost.baseline.steps * (1 + 3 * u) * cost.method.steps
        assert hours == pytest.approx(cost.method.hours)


def test_another_papers_rows_are_named_as_such_and_average_to_what_it_prints(paper: Published) -> None:
    [other] = references(paper)
    assert {abs(sum(row.scores) / len(row.scores) - row.average) <= 0.06 for row in other.rows} == {True}
    assert len(other.benchmarks) == len(other.rows[0].scores)
    text = markdown(published_blocks(paper))
    own, theirs = text.index("| SFPO | 120 |"), text.index("Another paper: GRESO, arXiv:2506")
    assert own < theirs < text.index("77.3") and "Gaokao in place of AIME 25" in text[theirs:]


def test_the_columns_are_known_benchmarks(paper: Published) -> None:
    for benchmark in paper.benchmarks:
        # OlympiadBench: the scores fit one problem fewer than the file has.
        assert card(benchmark.name).rows - benchmark.problems == (benchmark.name == "olympiadbench")


def test_the_rows_are_rows_of_a_papers_table(paper: Published) -> None:
    scores = published_scores(paper)
    assert len(scores) == 6 * 7
    assert {score.source for score in scores} == {"arXiv:2510.04072"}
    assert [score.difference for score in scores if score.arm == "GRPO"] == [None] * 21
    assert all(score.difference is not None for score in scores if score.arm == "SFPO")


def test_every_form_says_the_same(paper: Published, tmp_path: Path) -> None:
    files = write_published(paper, tmp_path)
    assert files.markdown.read_text(encoding="utf-8") == markdown(published_blocks(paper))
    assert len(gains_frame(paper)) == 21
    for path in (files.html, files.latex, files.markdown):
        assert "50.53" in path.read_text(encoding="utf-8")


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(MissingDataError, match=r"expected one of sfpo_2510_04072"):
        published("sfpo")


def test_the_verb_prints_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["published", f"out={tmp_path / 'tables'}"])
    said = capsys.readouterr().out
    assert "+4.49" in said and "Of 21 gains 0 are larger than any sampling error" in said
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        f"published.{s}" for s in ("md", "html", "tex", "csv")
    }
    with pytest.raises(SystemExit) as stopped:
        main(["published", "ppo"])
    assert stopped.value.code == 2
    assert "expected one of sfpo_2510_04072" in capsys.readouterr().err
