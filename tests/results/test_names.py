"""Names that people give: one folder, inside of the one it is meant for, and nothing that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.cli import main
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.results.names import (
    BESIDE_COMPARISONS,
    check_distinct,
    check_name,
    check_unlike,
    folder_name,
    is_name,
)

BAD = (
    "",
    " ",
    ".",
    "..",
    "../outer",
    "deep/er",
    "/top",
    "back\\slash",
    ".hidden",
    "end ",
    " begin",
    "two\nlines",
    "a" * 201,
    "名" * 100,
    *("end.", "a:b", "a?", "a*", "a|b", "a<b", 'a"b', "tab\there", "line\u2028", "\u200bgrpo", "grpo\u202e"),
    *("con", "NUL", "aux.txt", "Com1", "lpt9.log", "con .a"),
    *("gr\u0440\u043e", "\u0441\u043e\u0440", "sfp\u03bf", "\u0391B", "\uff47rpo", "u\u0308", "\ufb01t", "\U0001d422"),
)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name_of_one_folder_is_refused(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ConfigError, match="cannot be the name of a folder"):
        check_name("name", name)


GOOD = ("a", "my run ü=1", "v1.5", "50 % (half)", "-x", "名", "опыт", "sfpo-\u03b1", "console", "com10", "\u03b1\u03b2")


@pytest.mark.parametrize("name", GOOD)
def test_a_name_makes_one_folder_just_inside(name: str, tmp_path: Path) -> None:
    check_name("name", name)
    (tmp_path / name).mkdir()
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_the_names_that_are_taken_are_refused_in_every_case_of_letters() -> None:
    for name in (*BESIDE_COMPARISONS, "Runs", "SWEEPS"):
        with pytest.raises(ConfigError, match="holds something else"):
            check_name("name", name, BESIDE_COMPARISONS)


@pytest.mark.parametrize(
    "text", [*BAD, "a b/c", "..\\..\\up", "x" * 300, "ab.c", "50 %", "\u0441\u043e\u0440 x", "名前"]
)
def test_any_text_makes_a_name_of_one_folder(text: str) -> None:
    made = folder_name(text, "other")
    assert is_name(made) and folder_name(made, "other") == made


def test_names_that_differ_in_capitals_alone_are_refused_together_and_beside_each_other(tmp_path: Path) -> None:
    check_distinct("arms", ["grpo", "sfpo", "grpo"])
    with pytest.raises(ConfigError, match="'grpo' and 'GRPO'"):
        check_distinct("arms", ["sfpo", "grpo", "GRPO"])
    (tmp_path / "Runs of May").mkdir()
    check_unlike(tmp_path / "Runs of May")
    check_unlike(tmp_path / "Runs of June")
    check_unlike(tmp_path / "nowhere" / "a")
    with pytest.raises(ConfigError, match="Runs of May"):
        check_unlike(tmp_path / "runs of may")


@pytest.mark.parametrize(
    ("verb", "setting"),
    [
        (["train"], "name=''"),
        (["train"], "output_root=''"),
        (["compare"], "name=../outer"),
        (["sweep", "learning_rate"], "name=deep/er"),
        (["study", "arithmetic"], "name=../outer"),
    ],
)
def test_every_verb_refuses_them_before_it_writes(
    verb: list[str],
    setting: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    refused([*verb, setting], "cannot be the name of a folder" if "name" in setting else "output_root is empty", capsys)
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "run_name=../up"], "run_name = '../up' cannot be the name of a folder"),
        (["train", "algorithm.name=a/b"], "algorithm.name, = 'arithmetic-a/b-seed0' cannot be the name of a folder"),
        (["compare", "name=runs"], "name = 'runs' is the name of a folder that holds something else"),
        (["compare", "comparison.arms.other.label=GRPO", "comparison.arms.more.label=GRPO"], "has the labels"),
        (["compare", "comparison.arms.GRPO.label=other"], "differ in more than capitals"),
        (["compare", f"comparison.arms.{'a' * 300}.label=other"], "is a name of 322 characters"),
        (["train", f"algorithm={'a' * 300}"], "is a name of 305 characters"),
        (["sweep", "a" * 300], "is a name of 305 characters"),
        (["evaluate", "label=../up"], "label = '../up' cannot be the name of a folder"),
        (["import", "{runs}", "arm=method", "name=../up"], "name = '../up' cannot be the name of a folder"),
        (["import", "{runs}", "arm=method", "name=runs"], "name = 'runs' is the name of a folder"),
        (["import", "{runs}", "arm=method", "output_root=''"], "output_root is empty"),
    ],
)
def test_other_names_of_folders_too(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = Path(__file__).parents[1] / "importing" / "runs.csv"
    refused([argument.format(runs=runs) for argument in arguments], said, capsys)
    assert not list(tmp_path.iterdir())


def test_a_log_whose_name_is_taken_is_imported_under_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["import", str(Path(__file__).parents[1] / "importing" / "runs.csv"), "arm=method"])
    assert [one.name for one in (tmp_path / "results").iterdir()] == ["runs-imported"]


def refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())
