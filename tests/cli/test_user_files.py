"""Files of settings that a user wrote, and names and values that Hydra's notation does not take as they are."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.override_text import parse_overrides, quoted, written
from sfpo_bench.core.yaml_files import read_yaml
from tests.in_process import sfpo_bench

START = "defaults: [train, _self_]\n"
BROKEN = {
    "a tab that indents": (f"{START}sweep:\n\ttrials: 1\n".encode(), "line 3 begins with a tab"),
    "a tab in a list": (f"{START}sweep:\n  goals: [\n\ta\n\t:b: c\n".encode(), "line "),
    "a key twice": (f"{START}name: a\nname: b\n".encode(), "line 3 has the key name a second time"),
    "latin-1": (f"{START}name: é\n".encode("latin-1"), "bytes that are not UTF-8 (0xe9 at 32)"),
    "utf-16": (START.encode("utf-16"), "bytes that are not UTF-8 (0xff at 0)"),
    "bytes": (bytes(range(256)), "bytes that are not UTF-8"),
    "a control character": (f"{START}name: \x07\n".encode(), "not YAML"),
    "no defaults": (b"name: a\n", "has no `defaults`; begin it with"),
    "empty": (b"", "has no `defaults`; begin it with"),
    "a list": (b"- a\n- b\n", "holds a list"),
    "a number": (b"3\n", "cannot be read as settings"),
    "open braces": (b"{{{{", "line 1 is not YAML"),
    "an anchor that is not there": (f"{START}name: *a\n".encode(), "not YAML"),
    "a Python object": (b"!!python/object/apply:os.getcwd []", "not YAML"),
    "defaults as text": (b"defaults: train\n", "defaults must be a list"),
    "defaults that are not there": (b"defaults: [trian, _self_]\n", "Could not load 'trian'"),
    "defaults that choose nothing": (b"defaults: [_self_]\nname: a\n", " is not set; expected one of "),
    "a variable that is not there": (f"{START}name: ${{oc.env:NO_SUCH}}\n".encode(), "NO_SUCH"),
    "a section as a number": (f"{START}sweep: 3\n".encode(), "sweep is a number (3), expected a group of settings"),
    "a key that is a number": (f"{START}1: 2\n".encode(), "'1' not in"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_of_settings_gets_one_line_that_names_it(case: str, tmp_path: Path) -> None:
    verb = "study" if case in ("latin-1", "a key twice", "no defaults") else "sweep"
    content, expected = BROKEN[case]
    (tmp_path / "mine.yaml").write_bytes(content)
    done = sfpo_bench(tmp_path, verb, "mine.yaml")
    assert done.code == 2 and expected in done.err, done.err
    assert len(done.err.splitlines()) == 1 and done.out == "" and "Error executing job" not in done.err


@pytest.mark.parametrize("case", ["a key twice", "latin-1", "empty"])
def test_a_broken_file_is_named_wherever_it_is_read(case: str, tmp_path: Path) -> None:
    content, _ = BROKEN[case]
    (tmp_path / "algorithm").mkdir()
    for name in ("mine.yaml", "algorithm/mine.yaml"):
        (tmp_path / name).write_bytes(content)
    calls = [["compare", "comparison.tune=mine.yaml"]]
    if case != "empty":
        calls.append(["train", f"--config-dir={tmp_path}", "algorithm=mine"])
    for call in calls:
        done = sfpo_bench(tmp_path, *call)
        assert done.code == 2 and "mine" in done.err and len(done.err.splitlines()) == 1, done.err


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes("name: a\n".encode("utf-8-sig"))
    assert read_yaml(tmp_path / "mine.yaml") == {"name": "a"}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
@example("x\\${y}'")
@example("C:\\Users\\")
@example("it's \\' ${oc.env:HOME} \\\\'")
def test_a_quoted_value_is_the_text_itself(text: str) -> None:
    [override] = parse_overrides([f"run_name={quoted(text)}"])
    assert OmegaConf.create({"value": override.value()}).value == text


@given(st.text("ab =@&~,'\"\\${}[]()!#;<>|`ü\n:", max_size=8))
@example("\\\n")
def test_the_advice_how_to_write_a_value_can_be_typed_as_it_stands(text: str) -> None:
    [argument] = shlex.split(written("run_name", text))
    [override] = parse_overrides([argument])
    assert OmegaConf.create({"value": override.value()}).value == text


@pytest.mark.parametrize("value", ["a=b", "~/runs & it's", 'say "ü"!'])
def test_a_value_with_other_signs_is_refused_with_the_way_to_write_it(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_overrides([f"run_name={value}"])
    advice = str(refused.value).rpartition("write ")[2]
    done = sfpo_bench(tmp_path, "train", *shlex.split(advice), "--cfg", "job", "-p", "run_name")
    assert done.code == 0 and done.out.strip() == value


@pytest.mark.parametrize("name", ["my run ü=1", "it's a\\b ${y}&~c@d"])
def test_a_path_is_taken_as_it_is_printed(name: str, tmp_path: Path) -> None:
    """`is not a run folder` names the place that was looked at: nothing of it was read as notation."""
    for verb in ("show", "export"):
        assert f"results/runs/{name} is not a run folder" in sfpo_bench(tmp_path, verb, f"results/runs/{name}").err
    assert f"results/{name} is not a comparison folder" in sfpo_bench(tmp_path, "report", f"results/{name}").err


def test_a_file_of_settings_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "my sweep ü=1.yaml").write_text(f"{START}task: arithmetic\n")
    done = sfpo_bench(tmp_path, "sweep", "my sweep ü=1.yaml")
    assert "my sweep ü=1.yaml: task is a text (arithmetic), expected a group of settings" in done.err, done.err
