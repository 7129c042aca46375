"""Reading evaluations back, and choosing among them, without a model: engine and samples are `Dice`."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfpo_bench.cli import scores as verb
from sfpo_bench.cli.settings import ScoresSettings
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation.generation import asked_for, missing
from sfpo_bench.evaluation.grading import grade_samples
from sfpo_bench.evaluation.prompted_problems import prompted_benchmarks
from sfpo_bench.evaluation.record import read_evaluation
from sfpo_bench.problems.sets import DataSettings, suite
from sfpo_bench.results.evaluation import Asked, EvaluationFolder, ModelPin, Owner, write_asked
from sfpo_bench.results.sample_store import SampleStore, SamplingIdentity
from tests.evaluation.dice import Dice, generation


def evaluated(root: Path, label: str, suite_name: str, right_every: int) -> str:
    """The folder of an evaluation of a model that is right about every so many-th time."""
    chosen = suite(suite_name)
    benchmarks = prompted_benchmarks(chosen, DataSettings(), problems=20)
    answers = {question.key: question.problem.answer for benchmark in benchmarks for question in benchmark.prompted}
    engine = Dice(lambda key, noise: answers[key] if noise % right_every == 0 else "5000")
    identity = SamplingIdentity(label, "dice", "float32", 1.0, 1.0, 12, 0)
    folder = root / label
    store = SampleStore(folder / identity.digest)
    EvaluationFolder(folder).write_owner(Owner(label, label, None, None, "", ModelPin(label, "", label)))
    wanted = missing(benchmarks, 2, store)
    generation(engine).run(wanted, store, StopRequest(), lambda count: None)
    grade_samples(benchmarks, asked_for(benchmarks, 2, store), store)
    templates = {benchmark.name: benchmark.template.name for benchmark in benchmarks}
    write_asked(
        store, identity, Asked(chosen.name, chosen.role.value, 2, templates, {b.name: b.of for b in benchmarks})
    )
    return str(store.path)


def run(settings: ScoresSettings, capsys: pytest.CaptureFixture[str]) -> str:
    """What the verb prints."""
    verb.report(settings)
    return capsys.readouterr().out


def test_the_best_is_chosen_on_a_suite_for_choosing_and_nothing_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [evaluated(tmp_path, name, "embedded_select", every) for name, every in (("weak", 9), ("strong", 2))]
    said = run(ScoresSettings(folders, choose_on="embedded_select", out=str(tmp_path / "out")), capsys)
    assert "chosen: strong" in said and not list(tmp_path.rglob("choice.json")) and "too high" not in said


def test_a_choice_on_a_suite_for_reporting_is_refused_or_said_in_every_later_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [evaluated(tmp_path, name, "embedded", every) for name, every in (("weak", 9), ("strong", 2))]
    asked = ScoresSettings(folders, choose_on="embedded", out=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="allow_report=embedded"):
        verb.report(asked)
    with pytest.raises(ConfigError, match="allow_report=embedded"):
        verb.report(ScoresSettings(folders, choose_on="embedded", allow_report="paper", out=str(tmp_path / "out")))
    assert not list(tmp_path.rglob("choice.json"))
    forced = ScoresSettings(folders, choose_on="embedded", allow_report="embedded", out=str(tmp_path / "out"))
    assert "strong was chosen by its scores on embedded, a suite for reporting" in run(forced, capsys)
    alone = run(ScoresSettings([folders[1]], out=str(tmp_path / "other")), capsys)
    assert "strong was chosen" in alone and "too high" in alone
    assert "too high" not in run(ScoresSettings([folders[0]], out=str(tmp_path / "third")), capsys)


def test_a_model_compared_with_itself_gives_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Same folder twice is one evaluation; a copy under another name differs by nothing, without any doubt about p."""
    first, copy = (evaluated(tmp_path, name, "embedded", 3) for name in ("model", "copy"))
    said = run(ScoresSettings([first, first, copy], out=str(tmp_path / "out")), capsys)
    [row] = [line for line in said.splitlines() if line.startswith("| copy | arithmetic | 20 | +0.0")]
    assert "| 1.000 | 1.000 |" in row


def test_folders_that_hold_no_evaluation_or_several_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="holds no evaluation"):
        read_evaluation(tmp_path)
    folder = Path(evaluated(tmp_path, "model", "embedded", 3))
    other = folder.with_name("0123456789ab")
    other.mkdir()
    (other / "samples.parquet").write_bytes((folder / "samples.parquet").read_bytes())
    with pytest.raises(ConfigError, match="2 evaluations that were sampled differently"):
        read_evaluation(folder.parent)


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    owner = Owner("a", "a", None, None, "", ModelPin("a", "", "1" * 64))
    EvaluationFolder(tmp_path).write_owner(owner)
    EvaluationFolder(tmp_path).write_owner(Owner("renamed", "a", None, None, "", owner.model))
    with pytest.raises(ConfigError, match="holds samples of another model"):
        EvaluationFolder(tmp_path).write_owner(Owner("a", "a", None, None, "", ModelPin("b", "", "2" * 64)))
