"""A whole league through the command line: its table, killed and resumed, and made of another one's runs."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose

from sfpo_bench.algorithms.update_rules import OnePass
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.experiments.study.league import Entry, MethodsLeague, _league_arms
from sfpo_bench.settings.config import from_node
from tests.methods.members import PRESETS
from tests.study.tiny_league import FILES, IN_THE_TABLE, NO_TRAINING, league, place
from tests.study.tiny_study import AT_A_FILE, AT_A_JOINT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    done = league(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1_000)  # the first one waits for the league
def test_it_leaves_a_table_of_the_methods_with_what_was_left_out_and_why(finished: Path) -> None:
    assert {path.name for path in place(finished).iterdir()} >= set(FILES)
    rows = pd.read_csv(place(finished) / "league.csv").set_index("arm")
    assert set(rows.index) == {"grpo", "cispo", "grpo-repeat"} and set(rows.seeds) == {3}
    assert rows.extra_passes["grpo-repeat"] == "3" and list(rows.trust) == ["verified"] * 3
    page = (place(finished) / "league.md").read_text()
    assert "repeat: its settings are equal to those of grpo under repeat" in page.replace("\\", "")
    for arm in rows.index:
        runs = (place(finished) / "comparison" / "runs" / arm).glob("seed-*")
        journals = [(run / "journal.jsonl").read_text().splitlines() for run in sorted(runs)]
        records = [[json.loads(line) for line in lines] for lines in journals]
        last = [[one for one in each if one.get("split") == "report"][-1]["accuracy"] for each in records]
        assert rows.final[arm] == pytest.approx(sum(last) / 3)


@pytest.mark.slow
def test_again_every_part_is_kept(finished: Path) -> None:
    done = league(finished, prelude=NO_TRAINING)
    assert done.returncode == 0, done.stderr
    parts = ("tune", "compare", "table")
    assert done.stderr.splitlines() == [f"[{n}/3] {part}: done before" for n, part in enumerate(parts, start=1)]


@pytest.mark.slow
@pytest.mark.timeout(2_000)  # five processes after each other
def test_killed_on_its_way_it_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    for kill in (
        AT_A_FILE.format(pattern="sweeps/*-cispo/trials/*/*/checkpoints/step-000002"),
        AT_A_FILE.format(pattern="comparison/runs/*/*/checkpoints/step-000002"),
        AT_A_JOINT.format(part="compare", before=True),
        IN_THE_TABLE,
    ):
        killed = league(tmp_path, prelude=kill)
        assert killed.returncode == -signal.SIGKILL, kill + killed.stderr
    done = league(tmp_path)
    assert done.returncode == 0, done.stderr
    for name in FILES:
        assert (place(tmp_path) / name).read_bytes() == (place(finished) / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.timeout(1_000)
def test_a_league_of_runs_that_are_there_trains_nothing_and_says_where_they_came_from(finished: Path) -> None:
    done = league(finished, "name=other", "comparison.reuse=[results/studies/tiny]", prelude=NO_TRAINING)
    assert done.returncode == 0, done.stderr
    for name in ("league.csv", "league_pairs.csv", "tuning.csv"):
        assert (place(finished, "other") / name).read_bytes() == (place(finished) / name).read_bytes(), name
    assert "9 runs were not trained here" in (place(finished, "other") / "league.md").read_text()


def field(*methods: str) -> list[str]:
    overrides = ("study=league", f"study.league.methods=[{','.join(methods)}]")
    config = from_node(compose("study", list(overrides)))
    return list(MethodsLeague().arms(config, "study", overrides))


@pytest.mark.slow
def test_a_method_that_is_another_one_by_another_name_enters_once(hydra: None) -> None:
    assert field("grpo", "repeat", "grpo+repeat", "gspo+sfpo") == ["grpo", "repeat", "gspo-sfpo"]


@pytest.mark.slow
def test_a_rule_is_taken_with_its_settings_and_without_its_trigger(hydra: None) -> None:
    overrides = ("study=league", "study.league.methods=[grpo,gspo+sfpo]")
    config = from_node(compose("study", list(overrides)))
    found = MethodsLeague().arms(config, "study", overrides)["gspo-sfpo"].overrides
    arm = from_node(compose("train", ["experiment=arithmetic", *found]))
    alone = from_node(compose("train", ["algorithm=sfpo", "algorithm/update_rule/trigger=none"]))
    assert arm.rule == alone.rule and arm.objective == from_node(compose("train", ["algorithm=gspo"])).objective


@pytest.mark.slow
@pytest.mark.timeout(1_000)  # composes about 140 configurations
def test_the_whole_grid_holds_every_preset_and_every_objective_under_the_rules_or_says_why_not(hydra: None) -> None:
    found = _league_arms("study", ("study=league",), ("all",), ("sfpo", "repeat"))
    labels = {arm.label for arm in found.arms.values()} | set(found.left_out)
    one_pass = [name for name in PRESETS if type(from_node(compose("train", [f"algorithm={name}"])).rule) is OnePass]
    assert labels == {*PRESETS, *(f"{name} under {rule}" for name in one_pass for rule in ("sfpo", "repeat"))}
    assert {"grpo", "grpo-sfpo", "gspo-repeat", "gxpo", "sfpo"} <= set(found.arms)
    assert found.left_out["repeat"] == "its settings are equal to those of grpo under repeat"
    assert all(found.left_out.values())


@pytest.mark.parametrize(
    ("rule", "said"),
    [("nope", "names nope, which is not a preset"), ("gspo", "names the rule of gspo, which is one pass")],
)
def test_a_wrong_rule_is_refused_before_the_whole_grid_is_composed(hydra: None, rule: str, said: str) -> None:
    asked = list[object]()

    def composed_presets(*_: object) -> list[Entry]:
        asked.append(rule)
        return []

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ConfigError, match=rf"study\.league\.under {said}"):
        patch.setattr("sfpo_bench.experiments.study.league._Presets.all", composed_presets)
        _league_arms("study", ("study=league",), ("all",), ("sfpo", rule))
    assert asked == []


def test_the_league_of_a_real_model_has_three_methods_and_five_seeds(hydra: None) -> None:
    config = from_node(compose("study", ["study=league_smollm2"]))
    arms = MethodsLeague().arms(config, "study", ["study=league_smollm2"])
    assert list(arms) == ["grpo", "grpo-sfpo", "grpo-repeat"] and config.comparison.seeds == 5
    assert config.comparison.tune and "cannot show" in config.description


def test_what_is_no_method_is_refused(hydra: None) -> None:
    with pytest.raises(ConfigError, match=r"study\.league\.methods names grp, which is not a preset; expected one of"):
        field("grp")
    config = from_node(compose("study", ["study=league", "study.league.under=[nope]"]))
    with pytest.raises(ConfigError, match=r"study\.league\.under = \['nope'\] has no effect here"):
        MethodsLeague().check(config)
    with pytest.raises(ConfigError, match=re.escape("has 'gspo+'; expected PRESET, or PRESET+RULE")):
        Entry.read("gspo+")
