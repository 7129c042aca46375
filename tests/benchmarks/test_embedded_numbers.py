"""The list of what makes the embedded experiment's numbers names files, headings and commands that exist."""

from __future__ import annotations

import re
import shlex

import pytest

from benchmarks.embedded_numbers import FIGURES, PARTS, ROOT, main


@pytest.mark.parametrize("name", PARTS)
def test_a_part_names_pages_with_their_headings_and_scripts_that_exist(name: str) -> None:
    for shown in PARTS[name].shown:
        file, _, rest = shown.partition(": ")
        path = ROOT / file.split(",")[0]
        assert path.exists(), shown
        if path.suffix == ".md" and rest:
            heading = re.split(r"[;,(]", rest)[0].strip()
            assert heading in path.read_text(encoding="utf-8"), shown
    for command in PARTS[name].commands:
        scripts = [word for word in shlex.split(command) if word.endswith(".py")]
        assert all((ROOT / script).is_file() for script in scripts)


def test_every_figure_of_the_pages_is_made_by_a_part_or_is_of_another_experiment() -> None:
    made = {figure for part in PARTS.values() for _, figure in part.figures}
    made |= {word.rsplit("/", 1)[1] for part in PARTS.values() for word in part.shown if "docs/figures/" in word}
    assert {path.name for path in FIGURES.glob("*.png") if "smollm2" not in path.name} == made


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "found no part nothing; expected some of rates, comparison" in capsys.readouterr().err
