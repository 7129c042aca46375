"""The figure's files: whole, reproducible, with embedded fonts, untouched by the user's matplotlib settings."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sfpo_bench.reports import Summary, load_comparison
from sfpo_bench.reports.figures import convergence_figure, figure_bytes, spread
from sfpo_bench.reports.summarise import build_summary
from tests.reports.comparison_folder import Folder, Run

FIRST, SECOND = Run((0.1, 0.3, 0.5, 0.6)), Run((0.2, 0.3, 0.7, 0.8), step_seconds=0.7, trigger_step=3)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    runs = {"grpo": {0: FIRST, 1: FIRST}, "sfpo": {0: SECOND, 1: FIRST}, "one": {0: SECOND}, "absent": {}}
    folder = Folder(runs, targets=(0.5, 0.51, 0.7), labels={"sfpo": "_costs $5 and $6_", "one": "\u03b1 " * 80})
    return build_summary(load_comparison(folder.write(tmp_path_factory.mktemp("comparison"))))


@pytest.fixture(scope="module")
def files(summary: Summary) -> dict[str, bytes]:
    return figure_bytes(summary)


def test_png_is_an_image_of_ten_inches_at_200_dots(files: dict[str, bytes]) -> None:
    assert files["png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(files["png"][16:20]) == 2000


def test_pdf_embeds_truetype_fonts(files: dict[str, bytes]) -> None:
    assert files["pdf"].startswith(b"%PDF")
    assert b"/FontFile2" in files["pdf"]
    assert b"/Type3" not in files["pdf"]


def test_no_file_carries_a_date(files: dict[str, bytes]) -> None:
    assert b"CreationDate" not in files["pdf"]
    assert b"<dc:date>" not in files["svg"]


def test_equal_summaries_give_equal_bytes(summary: Summary, files: dict[str, bytes]) -> None:
    assert figure_bytes(Summary.from_json(summary.to_json())) == files


def test_the_users_matplotlib_settings_change_nothing(summary: Summary, files: dict[str, bytes]) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.facecolor": "pink"}):
        assert figure_bytes(summary)["svg"] == files["svg"]
        assert matplotlib.rcParams["font.size"] == 20


def test_pyplot_stays_out_of_it(tmp_path: Path, summary: Summary) -> None:
    (tmp_path / "summary.json").write_text(summary.to_json(), encoding="utf-8")
    script = (
        "import sys; from pathlib import Path; from sfpo_bench.reports import Summary;"
        "from sfpo_bench.reports.figures import figure_bytes;"
        "figure_bytes(Summary.from_json(Path(sys.argv[1]).read_text(encoding='utf-8')));"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "summary.json")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_legend_names_every_arm_and_the_trigger(summary: Summary) -> None:
    labels = [text.get_text().strip() for text in convergence_figure(summary).legends[0].get_texts()]
    assert labels[:2] == ["GRPO", "_costs $5 and $6_"]
    assert labels[2].endswith("… (1 of 2 finished)") and len(labels[2]) < 120
    assert labels[3:] == ["ABSENT (0 of 2 finished)", "entropy trigger fired"]


def test_title_and_caption_say_what_n_is_and_what_bands_are(summary: Summary) -> None:
    text = " ".join(" ".join(item.get_text() for item in convergence_figure(summary).texts).split())
    assert "0 to 2 seeds per arm, 100 responses per point" in text
    assert "95 % t interval over seeds" in text and "95 % Wilson interval over its responses" in text


def test_axes_carry_their_units_and_the_targets_their_names(summary: Summary) -> None:
    left, right = convergence_figure(summary).axes
    assert "responses" in left.get_xlabel() and re.search(r"time, s\b", right.get_xlabel())
    assert [text.get_text() for text in right.texts] == ["target 0.50", "target 0.51", "target 0.70"]


def test_texts_do_not_overlap_and_stay_on_the_page(summary: Summary) -> None:
    figure = convergence_figure(summary)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # of the Agg canvas
    figure.draw(renderer)
    left, right = figure.axes
    page = figure.bbox
    items = [*figure.texts, *right.texts, left.xaxis.label, right.xaxis.label, left.yaxis.label]
    boxes = [item.get_window_extent(renderer) for item in items] + [figure.legends[0].get_window_extent(renderer)]
    for index, box in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert box.y0 >= left.bbox.y1 or box.y1 <= left.bbox.y0 or box.x0 >= right.bbox.x1 or box.x1 <= left.bbox.x0


def test_a_flat_curve_and_no_target_can_be_drawn(tmp_path: Path) -> None:
    folder = Folder({"grpo": {0: replace(FIRST, accuracies=(0.5,))}}, targets=())
    assert figure_bytes(build_summary(load_comparison(folder.write(tmp_path))))["png"]


def test_spread_moves_close_labels_apart_and_leaves_others() -> None:
    assert spread([0.1, 0.12, 0.13, 0.5], 0.05) == pytest.approx([0.1, 0.15, 0.2, 0.5])
    assert spread([], 0.05) == []
