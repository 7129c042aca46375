"""What a study is made of: every packaged one composes, and each part follows from its own settings alone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from sfpo_bench.cli.study_file import known_studies, primary
from sfpo_bench.cli.sweep_file import sweep_file
from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.types import Split
from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.evaluation.prompted_problems import prompted_benchmarks
from sfpo_bench.evaluation.run import check_what_is_evaluated
from sfpo_bench.experiments.study.plan import Study, study_of
from sfpo_bench.experiments.study.suite import refuse_shared
from sfpo_bench.problems.sets import DataSettings, Role, suite
from sfpo_bench.settings.config import from_node

pytestmark = pytest.mark.usefixtures("hydra")


def planned(*overrides: str) -> Study:
    config = from_node(compose("study", list(overrides)))
    return study_of(config, "study", overrides, sweep_file(config.comparison.tune))


def changed(*overrides: str) -> set[str]:
    """The parts of `arithmetic` whose settings differ under these overrides."""
    before, after = planned("study=arithmetic").settings(), planned("study=arithmetic", *overrides).settings()
    return {part for part in before if before[part] != after[part]}


def design_of(name: str) -> str:
    """The design that the file of a packaged study names."""
    file = files("sfpo_bench.conf") / "study" / f"{name}.yaml"
    return str(OmegaConf.select(read_yaml(Path(str(file))), "study.design", default="suite"))


@pytest.mark.parametrize("name", [name for name in known_studies() if design_of(name) == "suite"])
def test_every_packaged_study_composes_with_a_suite_for_reporting(name: str) -> None:
    found = planned(f"study={name}")
    assert found.name == name and suite(found.evaluation.suite).role is Role.report
    assert found.config.comparison_folder == found.folder / "comparison"
    assert found.config.sweep_folder.parent == found.folder / "sweeps"
    assert {arm.key for arm in found.arms} >= {"grpo", "sfpo", "repeat"}


@pytest.mark.slow
def test_the_packaged_league_holds_every_method_of_its_list_and_asks_for_no_suite() -> None:
    found = planned("study=league")
    assert found.parts == ("tune", "compare", "table") and not found.evaluation.suite
    listed = [text.replace("+", "-") for text in found.config.study.league.methods]
    assert [arm.key for arm in found.arms] == listed and found.config.comparison.baseline in listed
    assert not [key for key in found.settings()["table"] if key.startswith("left out")]


def test_the_words_for_a_condition_belong_to_the_table_and_not_to_its_runs() -> None:
    found = planned("study=reposition").settings()
    assert "condition.base.note" in found["table"] and "condition.base.fast_passes" in found["compare"]
    assert not [key for key in found["compare"] if key.endswith(".note")]


def test_what_a_study_asks_of_a_trained_run_is_an_evaluation(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    check_what_is_evaluated(planned("study=arithmetic").evaluation_of(tmp_path, 4))


def test_data_is_read_from_one_folder_in_training_and_in_evaluations() -> None:
    found = planned("study=smollm2_gsm8k", "study.data.dir=/data")
    assert found.evaluation.data.dir == "/data"
    assert all(arm.node.task.data.dir == "/data" for arm in found.arms)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("learner.beta2=0.9", {"tune", "compare"}),
        ("comparison.seeds=3", {"compare"}),
        ("study.budget_axis=tokens", {"choose"}),
        ("study.evaluation.sampling.temperature=0.6", {"start", "evaluate"}),
        ("comparison.baseline=repeat", {"score"}),
        ("description=other", {"score"}),
        ("comparison.slots=1", set()),
        ("tracking=none", set()),
        ("output_root=elsewhere", set()),
    ],
)
def test_a_setting_is_one_of_the_parts_whose_result_it_changes(override: str, parts: set[str]) -> None:
    assert changed(override) == parts


def test_a_suite_that_holds_select_problems_is_refused() -> None:
    select = planned("study=arithmetic").config.policy_task.problems(Split.select)
    refuse_shared(prompted_benchmarks(suite("embedded"), DataSettings()), select)
    with pytest.raises(ConfigError, match="100 problems of the suite are among the select problems"):
        refuse_shared(prompted_benchmarks(suite("embedded_select"), DataSettings()), select)


def test_choosing_on_a_suite_for_reporting_is_refused_even_where_it_is_allowed_elsewhere(tmp_path: Path) -> None:
    allowed = ("evaluation.select_suite=embedded", "evaluation.allow_report=embedded")
    with pytest.raises(ConfigError, match="a study chooses on select problems alone"):
        planned("study=arithmetic", *allowed)
    (tmp_path / "sweep.yaml").write_text("evaluation: {allow_report: embedded}\nsweep: {trials: 1}\n")
    with pytest.raises(ConfigError, match="allows the choice on a suite for reporting"):
        planned("study=arithmetic", f"comparison.tune={tmp_path / 'sweep.yaml'}")


def test_doing_the_evaluation_again_is_doing_that_of_the_start_again_too() -> None:
    assert planned("study=arithmetic", "study.redo=evaluate").redo == ("start", "evaluate", "score")
    assert planned("study=arithmetic", "study.redo=score").redo == ("score",)
    assert planned("study=arithmetic", "study.redo=compare").redo == ("start", "compare", "choose", "evaluate", "score")
    assert planned("study=arithmetic").redo == ()


def test_a_part_that_the_design_does_not_have_cannot_be_done_again() -> None:
    with pytest.raises(ConfigError, match=r"study\.redo = table is no part of a study whose design is suite"):
        planned("study=arithmetic", "study.redo=table")


def test_a_study_is_named_first_and_short_forms_are_written_out() -> None:
    assert primary(["arithmetic", "tune=x", "data.dir=D"]) == (
        "study",
        ["study=arithmetic", "comparison.tune=x", "study.data.dir=D"],
    )
    with pytest.raises(ConfigError, match="no study is named; expected sfpo-bench study NAME, one of arithmetic"):
        primary(["comparison.seeds=3"])
    with pytest.raises(MissingDataError, match="neither a file nor a packaged study"):
        primary(["arithmetik"])
