"""Published results: averages and ratios follow from the printed columns and steps, or it is said where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.cli import main
from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.problems.sets import card
from sfpo_bench.reports.markdown import markdown
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
