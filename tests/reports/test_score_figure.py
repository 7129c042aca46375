"""The figure of a study: the same scores give the same bytes, others do not, and one benchmark or arm is enough."""

from __future__ import annotations

from dataclasses import replace

from sfpo_bench.reports.papers.score import PaperCheckpoint, PaperScore
from sfpo_bench.reports.papers.score_figure import score_figure

START = PaperScore("m", "before training", PaperCheckpoint.start, "math500", 0.1, samples=4)
ROWS = [
    START,
    PaperScore("m", "GRPO", PaperCheckpoint.last, "math500", 0.5, 0.4, 0.6, samples=4),
    PaperScore("m", "SFPO", PaperCheckpoint.last, "math500", 0.6, 0.5, 0.7, samples=4),
]


def test_equal_scores_give_equal_bytes_and_others_do_not() -> None:
    first, again = (score_figure(ROWS, "a study") for _ in range(2))
    other = score_figure([*ROWS[:-1], replace(ROWS[-1], avg_at_k=0.55)], "a study")
    assert set(first) == {"png", "pdf", "svg"} and first == again
    assert all(first[kind] != other[kind] for kind in first)


def test_scores_without_intervals_and_without_a_start_are_drawn_too() -> None:
    assert score_figure([PaperScore("m", "GRPO", PaperCheckpoint.last, "math500", 0.5)], "a study")["svg"]
