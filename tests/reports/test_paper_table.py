"""A paper's table: what is bold, what is marked, what the footnotes say; the same numbers in every form."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.core.errors import BenchError
from sfpo_bench.reports.document import Table, plain
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.papers.footnotes import footnotes
from sfpo_bench.reports.papers.frame import PAPER_FRAME_COLUMNS, paper_frame, rows_of, tables_of
from sfpo_bench.reports.papers.layout import PaperTable, lay_out
from sfpo_bench.reports.papers.names import PaperNames
from sfpo_bench.reports.papers.published_results import published, published_scores
from sfpo_bench.reports.papers.score import AVERAGE, PaperCheckpoint, PaperScore
from sfpo_bench.reports.papers.table import paper_blocks, write_paper_tables

NAMES = PaperNames(arms={"grpo": "GRPO", "sfpo": "SFPO"})
GRPO = PaperScore(
    "SmolLM2", "grpo", PaperCheckpoint.last, "math500", 0.431, low=0.40, high=0.46, problems=500, seeds=3, samples=4,
    baseline="grpo", temperature=1.0, top_p=0.7, max_tokens=3072, prompt="boxed", truncated_share=0.021,
    no_answer_share=0.25, steps=60.0, budget=15360.0, axis="responses",
)  # fmt: skip
SFPO = replace(
    GRPO, arm="sfpo", avg_at_k=0.465, low=0.43, high=0.5, difference=0.034, difference_low=0.012,
    difference_high=0.056, p_value=0.01, p_holm=0.02, smallest_detectable=0.031,
)  # fmt: skip
AIME = [replace(GRPO, benchmark="aime24", problems=30, avg_at_k=0.05), replace(SFPO, benchmark="aime24", problems=30)]
AIME[1] = replace(AIME[1], avg_at_k=0.05, difference=0.0, difference_low=-0.05, difference_high=0.05, p_holm=1.0)
MEAN = [replace(GRPO, benchmark=AVERAGE, problems=530, avg_at_k=0.2405)]
MEAN += [replace(SFPO, benchmark=AVERAGE, problems=530, avg_at_k=0.2575, difference=0.017, p_value=0.03, p_holm=None)]
TABLE = [GRPO, SFPO, *AIME, *MEAN]


def only(scores: list[PaperScore]) -> PaperTable:
    [table] = lay_out(rows_of(scores), NAMES)
    return table


def notes(scores: list[PaperScore]) -> str:
    [rows] = tables_of(rows_of(scores))
    return "\n".join(footnotes(rows, NAMES))


def test_rows_are_methods_then_differences_and_columns_benchmarks_then_the_average() -> None:
    table = only(TABLE)
    assert table.caption == "avg@4 in percent, last checkpoint"
    assert table.headings == ("MATH-500", "AIME24", "Average")
    [block] = table.blocks
    assert [row.label for row in block.rows] == ["GRPO", "SFPO", "SFPO − GRPO"]  # noqa: RUF001
    assert [[cell.text for cell in row.cells] for row in block.rows] == [
        ["43.1", "5.0", "24.1"],
        ["46.5", "5.0", "25.8"],
        ["+3.4*", "+0.0", "+1.7*"],
    ]
    assert block.rows[2].cells[0].below == "(+1.2 to +5.6)"
    assert block.rows[2].cells[1].below == "(−5.0 to +5.0)"  # noqa: RUF001


def test_the_best_is_bold_and_equal_ones_are_not_where_all_are_equal() -> None:
    bold = [[cell.bold for cell in row.cells] for row in only(TABLE).blocks[0].rows[:2]]
    assert bold == [[False, False, False], [True, False, True]]
    third = replace(SFPO, arm="other", avg_at_k=0.46501)  # the same at the digits that are shown
    assert [row.best for row in rows_of([GRPO, SFPO, third])] == [False, True, True]


def test_the_mark_follows_holm_and_for_the_average_its_own_p() -> None:
    weak = replace(SFPO, p_value=0.01, p_holm=0.06)
    mean = replace(SFPO, benchmark=AVERAGE, p_value=0.05, p_holm=None)
    untested = replace(SFPO, arm="other", p_holm=0.01, difference=None)
    assert [row.mark for row in rows_of([SFPO, replace(weak, arm="x"), mean, untested])] == [
        "*",
        "",
        "*",
        "",
    ]


def test_the_frame_holds_every_number_and_leaves_out_what_is_not_known() -> None:
    frame = paper_frame(rows_of(TABLE))
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == dict(PAPER_FRAME_COLUMNS)
    assert frame["avg_at_k"].tolist() == [score.avg_at_k for score in TABLE]
    assert frame["difference"].isna().tolist() == [score.difference is None for score in TABLE]
    assert frame["seeds"].tolist() == [3] * len(TABLE) and frame["p_holm"].isna().sum() == 4


def test_footnotes_tell_protocol_checkpoint_and_size() -> None:
    text = notes(TABLE)
    assert "avg@4: mean of 4 samples a problem, temperature 1, top-p 0.7, at most 3,072 tokens, prompt boxed." in text
    assert "Checkpoint: the last one of each run (60 steps, 15,360 responses)." in text
    assert "Problems: MATH-500 500, AIME24 30. The average weights all benchmarks equally." in text
    assert "Training runs of a method: 3." in text
    assert (
        "Differences to GRPO are in points and paired by problem, with 95 % intervals over problems and training"
        in text
    )
    assert "found with 80 % power: 3.1 points" in text
    assert "Responses cut at the token limit 2.1 %, without an answer 25.0 %." in text


def test_footnotes_name_the_benchmarks_where_they_were_asked_differently() -> None:
    text = notes([GRPO, replace(GRPO, benchmark="aime24", samples=32, prompt="plain")])
    assert "MATH-500: avg@4: mean of 4 samples" in text
    assert (
        "AIME24: avg@32: mean of 32 samples a problem, temperature 1, top-p 0.7, at most 3,072 tokens, prompt plain"
        in text
    )


def test_footnotes_say_when_no_mark_can_appear() -> None:
    assert "With so few training runs p cannot be below 0.1" in notes(TABLE)
    assert "cannot be below" not in notes([replace(score, seeds=5) for score in TABLE])
    assert "cannot be below" not in notes([replace(score, seeds=1) for score in TABLE])


def test_footnotes_tell_what_each_arm_spent_where_they_differ() -> None:
    scores = [GRPO, replace(SFPO, steps=45.5, checkpoint=PaperCheckpoint.last)]
    assert "(GRPO 60 steps, 15,360 responses; SFPO 45.5 steps, 15,360 responses)" in notes(scores)


def test_what_is_not_told_is_said() -> None:
    bare = PaperScore("m", "a", PaperCheckpoint.unknown, "gsm8k_test", 0.5)
    assert "top-p not stated, token limit not stated, prompt not stated" in notes([bare])
    assert only([bare]).caption == "avg@k in percent, checkpoint not stated"


def test_every_checkpoint_and_every_source_has_a_table_of_its_own() -> None:
    best = [replace(score, checkpoint=PaperCheckpoint.best_on_select) for score in TABLE]
    tables = lay_out(rows_of([*published_scores(published()), *best, *TABLE]), NAMES)
    assert [table.caption.split(":")[0] for table in tables] == [
        "avg@4 in percent, last checkpoint",
        "avg@4 in percent, checkpoint that is best on select problems",
        "Published in arXiv",
    ]
    assert tables[2].blocks[0].rows[2].cells[0].text == "+1.20"
    assert tables[2].blocks[0].rows[2].cells[0].below == "(±0.5 to 5.8)"


def test_an_average_is_that_of_the_benchmarks_that_are_shown() -> None:
    """Kept of six published benchmarks: two, with the average that was of all."""
    kept = ("math500", "olympiadbench", AVERAGE)
    some = [score for score in published_scores(published()) if score.benchmark in kept]
    frame = paper_frame(rows_of(some))
    rows = frame.pivot(index=["model", "arm"], columns="benchmark", values=["avg_at_k", "difference", "problems"])
    level = rows["avg_at_k"]
    assert (level[AVERAGE] - (level["math500"] + level["olympiadbench"]) / 2).abs().max() < 1e-12
    gain = rows["difference"].dropna()
    assert len(gain) == 3
    assert (gain[AVERAGE] - (gain["math500"] + gain["olympiadbench"]) / 2).abs().max() < 1e-12
    assert (rows["problems"][AVERAGE] == rows["problems"]["math500"] + rows["problems"]["olympiadbench"]).all()
    best = frame[frame["best"] & (frame["benchmark"] == AVERAGE)]
    for model, own in frame[frame["benchmark"] == AVERAGE].groupby("model"):
        assert best[best["model"] == model]["arm"].tolist() == own.sort_values("avg_at_k")["arm"].tolist()[-1:]
    whole = published_scores(published())
    assert [row.score for row in rows_of(whole)] == whole


def test_an_average_of_a_part_of_what_was_measured_has_no_interval_and_no_mark() -> None:
    one = [replace(score, benchmark="amc23") if score.benchmark == "aime24" else score for score in TABLE]
    [average] = [row for row in rows_of([GRPO, SFPO, *MEAN]) if row.score.difference is not None][1:]
    assert (average.score.avg_at_k, average.score.difference) == (SFPO.avg_at_k, SFPO.difference)
    assert (average.score.low, average.score.p_value, average.mark) == (None, None, "")
    assert "known only for the benchmarks that were measured together" in notes([GRPO, SFPO, *MEAN])
    assert [row.score for row in rows_of(one)] == one


@pytest.mark.parametrize(("off", "kept"), [(0.00004, True), (-0.00004, True), (0.0002, False), (-0.0002, False)])
def test_an_average_is_kept_where_it_is_that_of_the_others_but_for_rounding(off: float, kept: bool) -> None:
    """To 0.01 %, as averages are published; with an average goes what was tested of it."""
    told = [replace(score, avg_at_k=score.avg_at_k + off) for score in MEAN]
    [grpo, sfpo] = [row.score for row in rows_of([GRPO, SFPO, *AIME, *told]) if row.score.benchmark == AVERAGE]
    if kept:
        assert [grpo, sfpo] == told
    else:
        assert (grpo.avg_at_k, sfpo.avg_at_k) == pytest.approx((0.2405, 0.2575), abs=1e-12)
        assert sfpo.difference == pytest.approx(0.017, abs=1e-12) and sfpo.p_value is None


def test_averages_of_different_benchmarks_are_not_compared() -> None:
    scores = [score for score in TABLE if (score.arm, score.benchmark) != ("sfpo", "aime24")]
    [_, average] = [row for row in rows_of(scores) if row.score.benchmark == AVERAGE]
    assert average.score.avg_at_k == SFPO.avg_at_k and average.score.difference is None and not average.best
    assert "rows with other benchmarks have averages that cannot be compared" in notes(scores)


def test_an_average_alone_says_what_it_is_of() -> None:
    assert "The average is of benchmarks that are not shown, 530 problems." in notes(MEAN)
    assert [row.score for row in rows_of(MEAN)] == MEAN


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], "found no score"),
        ([GRPO, GRPO], "found two scores of SmolLM2, grpo, last, math500"),
        ([replace(GRPO, avg_at_k=43.1)], "expected a share"),
    ],
)
def test_scores_of_no_table_are_refused(scores: list[PaperScore], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        rows_of(scores)


HOSTILE = "<script>x</script> \\input{/etc/passwd} | **b** $x$ & % # _ ^"


def test_every_form_says_the_same_and_equal_scores_give_equal_bytes(tmp_path: Path) -> None:
    first = write_paper_tables(TABLE, tmp_path / "a", "Study", NAMES)
    second = write_paper_tables(TABLE, tmp_path / "b", "Study", NAMES)
    for name in ("markdown", "html", "latex", "csv"):
        assert getattr(first, name).read_bytes() == getattr(second, name).read_bytes()
    assert first.markdown.read_text(encoding="utf-8") == markdown(paper_blocks(rows_of(TABLE), "Study", NAMES))
    table = next(block for block in paper_blocks(rows_of(TABLE), "Study", NAMES) if isinstance(block, Table))
    assert [plain(cell) for cell in table.rows[2]] == [
        *("SmolLM2", "SFPO − GRPO", "+3.4* (+1.2 to +5.6)", "+0.0 (−5.0 to +5.0)", "+1.7* (+1.2 to +5.6)"),  # noqa: RUF001
    ]
    page, latex = first.html.read_text(encoding="utf-8"), first.latex.read_text(encoding="utf-8")
    for number in ("46.5", "+3.4"):
        assert number in page and number in latex
    assert r"\textbf{46.5}" in latex and "<strong>46.5</strong>" in page
    with first.csv.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert (rows[1]["avg_at_k"], rows[1]["best"], rows[1]["mark"]) == ("0.465", "True", "*")


def test_hostile_names_show_as_they_are(tmp_path: Path) -> None:
    names = PaperNames(models={"SmolLM2": HOSTILE}, arms={"grpo": HOSTILE}, benchmarks={"math500": HOSTILE})
    scores = [replace(score, prompt=HOSTILE) for score in TABLE]
    files = write_paper_tables(scores, tmp_path, HOSTILE, names)
    assert "<script>" not in files.html.read_text(encoding="utf-8")
    table = next(b for b in paper_blocks(rows_of(scores), HOSTILE, names) if isinstance(b, Table))
    assert plain(table.rows[0][0]) == plain(table.rows[0][1]) == plain(table.header[2]) == HOSTILE
    assert r"\input{" not in files.latex.read_text(encoding="utf-8")


@pytest.mark.parametrize("style", [r"\documentclass{article}", r"\documentclass[twocolumn]{article}"])
@pytest.mark.parametrize("title", ["Study", HOSTILE])
def test_the_latex_compiles_in_papers_of_one_and_two_columns(tmp_path: Path, style: str, title: str) -> None:
    compiler = shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("no pdflatex on this machine; on Debian: apt-get install texlive-latex-recommended")
    names = PaperNames(models={"SmolLM2": title}, arms={"grpo": "GRPO", "sfpo": title})
    files = write_paper_tables([*TABLE, *published_scores(published())], tmp_path, title, names)
    packages = re.search(r"\\usepackage{[^}]*}", files.latex.read_text(encoding="utf-8"))
    assert packages is not None
    body = f"{style}\n{packages[0]}\n\\begin{{document}}\nText.\n\\input{{{files.latex.name}}}\n\\end{{document}}\n"
    (tmp_path / "main.tex").write_text(body, encoding="utf-8")
    command = [compiler, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "main.pdf").is_file()


def test_markdown_lists_every_score_with_its_interval() -> None:
    details = [b for b in paper_blocks(rows_of(TABLE), "Study", NAMES) if isinstance(b, Table)][-1]
    assert len(details.rows) == len(TABLE)
    assert [plain(cell) for cell in details.rows[1]] == [
        *("SmolLM2", "SFPO", "last checkpoint", "MATH-500", "500", "3", "46.5 (43.0 to 50.0)"),
        *("+3.4 (+1.2 to +5.6)", "0.010", "0.020", "3.1", "2.1", "25.0"),
    ]
