"""A figure and a table in one's own style: what is asked for is what is drawn, and what is bold follows from tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfpo_bench.reports import (
    Column,
    FigureStyle,
    Summary,
    TableStyle,
    compare,
    load_comparison,
    own_figure,
    own_table,
    save_figure,
)
from tests.reports.comparison_folder import Folder, Run

SHIFTS = (-0.02, 0.0, 0.02)


def runs(middle: float, last: float) -> dict[int, Run]:
    return {seed: Run((0.1, 0.2, middle + s, 0.6, last + s), greedy=last) for seed, s in enumerate(SHIFTS)}


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Two good methods that no test tells apart, and a baseline that both are told apart from; one without a run."""
    arms = {"grpo": runs(0.3, 0.62), "sfpo": runs(0.5, 0.80), "repeat": runs(0.49, 0.81), "idle": {}}
    folder = Folder(arms, seeds=[0, 1, 2], targets=(0.45,), labels={"sfpo": "SFPO & co"})
    return compare(load_comparison(folder.write(tmp_path_factory.mktemp("own"))))


def test_arms_labels_colours_and_panels_are_those_asked_for(summary: Summary) -> None:
    labels, colors = {"sfpo": "_ours"}, {"sfpo": "#123456"}
    axes = ("responses", "tokens")
    figure = own_figure(summary, FigureStyle(("sfpo", "grpo"), labels, colors, axes, columns=2, font_size=7))
    assert figure.get_size_inches().tolist() == [6.75, 2.3] and len(figure.axes) == 2
    assert [panel.get_xlabel() for panel in figure.axes] == ["sampled responses", "generated tokens"]
    shown = [line for line in figure.axes[0].lines if not str(line.get_label()).startswith("_")]
    assert [(line.get_label(), line.get_color()) for line in shown] == [(" _ours", "#123456"), ("GRPO", "#0072B2")]
    legend = figure.axes[1].get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == [" _ours", "GRPO"]
    assert legend.get_texts()[0].get_fontsize() == 6


@pytest.mark.parametrize(
    ("spread", "bands", "seeds"), [("band", 3, 0), ("seeds", 0, 9), ("both", 3, 9), ("none", 0, 0)]
)
def test_bands_and_seeds_are_drawn_where_they_are_asked_for(
    summary: Summary, spread: str, bands: int, seeds: int
) -> None:
    style = FigureStyle(spread=spread, targets=False, legend=False)  # type: ignore[arg-type]  # from a list
    [panel] = own_figure(summary, style).axes
    assert (len(panel.collections), len(panel.lines)) == (bands, 3 + seeds)


def test_a_logarithmic_axis_leaves_out_what_cost_nothing(summary: Summary, tmp_path: Path) -> None:
    figure = own_figure(summary, FigureStyle(log_cost=True, log_accuracy=True, targets=False, spread="both"))
    [panel] = figure.axes
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
    assert min(float(np.min(np.asarray(line.get_xdata()))) for line in panel.lines) == 64
    save_figure(figure, tmp_path / "own.pdf")
    first = (tmp_path / "own.pdf").read_bytes()
    save_figure(figure, tmp_path / "own.pdf")
    assert first.startswith(b"%PDF") and (tmp_path / "own.pdf").read_bytes() == first


@pytest.mark.parametrize(
    ("style", "said"),
    [
        (FigureStyle(arms=("ppo",)), "no arm 'ppo'.* expected one of grpo, sfpo, repeat, idle"),
        (FigureStyle(labels={"ppo": "PPO"}), "no arm 'ppo'"),
        (FigureStyle(axes=("steps",)), "found steps in axes; expected one or more of prompts, responses"),
        (FigureStyle(axes=()), "found no axis in axes"),
        (FigureStyle(columns=3), "found 3 columns; expected 1 or 2"),
        (FigureStyle(spread="bars"), "found 'bars' as the spread; expected one of band"),  # type: ignore[arg-type]  # wrong
        (TableStyle(()), "found no columns"),
        (TableStyle((Column("speed"),)), "found column 'speed'; expected one of accuracy"),  # type: ignore[arg-type]  # wrong
        (TableStyle((Column("cost", "steps", 0.45),)), "found axis 'steps'"),
        (TableStyle((Column("ratio", target=0.5),)), "found target 0.5 of a ratio; expected one of 0.45"),
        (TableStyle((Column("cost"),)), "found target None of a cost"),
        (TableStyle(arms=("ppo",)), "no arm 'ppo'"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(
    summary: Summary, style: FigureStyle | TableStyle, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        own_figure(summary, style) if isinstance(style, FigureStyle) else own_table(summary, style)


def test_bold_are_the_best_and_all_that_no_test_tells_from_it(summary: Summary) -> None:
    columns = (Column("accuracy"), Column("ratio", target=0.45, heading="saved"), Column("greedy"), Column("seeds"))
    found = own_table(summary, TableStyle(columns, ("repeat", "sfpo", "grpo"), {"repeat": "again"}, "A caption."))
    rows = [line for line in found.markdown.splitlines() if line.startswith("|")]
    assert rows[0] == "| method | sampled accuracy | saved | greedy accuracy | seeds |"
    again, ours, base = (row.split(" | ") for row in rows[2:])
    assert [row[1].startswith("**") for row in (again, ours, base)] == [True, True, False]
    assert [row[2].startswith("**") for row in (again, ours, base)] == [True, True, False]
    assert again[1].startswith("**0.810") and ours[1].startswith("**0.800"), "a tie by test, not by digit"
    assert again[1].endswith(r"\***") and not base[1].endswith(r"\*") and base[2] == "1"
    assert not any("**" in row[3] for row in (again, ours, base)), "no test, nothing bold"
    assert "told apart from GRPO (Holm" in found.markdown and found.markdown.startswith("**A caption.**")


def test_nothing_is_bold_where_the_test_tells_nothing_from_the_best(summary: Summary) -> None:
    two = own_table(summary, TableStyle((Column("accuracy"),), ("repeat", "sfpo"), marks=False))
    assert "**" not in two.markdown and "Bold" not in two.markdown and r"\*" not in two.markdown
    plain = own_table(summary, TableStyle((Column("accuracy"),), bold_best=False))
    assert "**" not in plain.markdown and "| IDLE | none |" in plain.markdown


def test_every_form_holds_the_same_cells_and_takes_no_name_for_markup(summary: Summary) -> None:
    style = TableStyle((Column("accuracy"), Column("cost", target=0.45)), ("sfpo", "grpo"), caption="50 % of $x$")
    found = own_table(summary, style)
    assert r"SFPO \& co" in found.latex() and r"\caption{50 \% of \$x\$" in found.latex(2)
    assert '<td class="left">SFPO &amp; co</td>' in found.html and "<strong>0.800" in found.html
    assert r"\textbf{0.800" in found.latex() and "**0.800" in found._repr_markdown_()
