"""`compare`, `sweep` and `study` take a packaged name or a file of the user's alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from sfpo_bench.cli import compare_file, study_file, sweep_file
from sfpo_bench.cli.user_file import packaged_names
from sfpo_bench.core.errors import BenchError, ConfigError, MissingDataError
from tests.conftest import Cli

Primary = Callable[[Sequence[str]], tuple[str, list[str]]]
VERBS: dict[str, tuple[Primary, str]] = {
    "compare": (compare_file.primary, "compare"),
    "sweep": (sweep_file.primary, "train"),
    "study": (study_file.primary, "study"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_is_named_by_its_path_from_anywhere(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    primary, base = VERBS[verb]
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "mine.yaml"
    file.write_text(f"defaults: [{base}, _self_]\n")
    monkeypatch.chdir(tmp_path)
    for path in ("deep/mine.yaml", str(file), "./deep/../deep/mine.yaml"):
        assert primary([path, "seed=3"]) == ("mine", ["seed=3", f"--config-dir={tmp_path / 'deep'}"])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", sorted(packaged_names()))
def test_a_file_that_hydra_would_find_elsewhere_is_refused(verb: str, name: str, tmp_path: Path) -> None:
    """It would read the packaged configuration of that name and do something else, in silence."""
    file = tmp_path / f"{name}.yaml"
    file.write_text(f"defaults: [{VERBS[verb][1]}, _self_]\n")
    with pytest.raises(ConfigError, match="name of a packaged configuration, which would be read instead; rename it"):
        VERBS[verb][0]([str(file)])


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_file_and_no_name_says_what_there_is(verb: str, tmp_path: Path) -> None:
    primary, base = VERBS[verb]
    with pytest.raises(MissingDataError, match=r"is neither a file nor a packaged \w+; expected one of .*, or FILE"):
        primary(["nobody"])
    with pytest.raises(MissingDataError, match="is neither a file nor"):
        primary([str(tmp_path / "absent.yaml")])
    (tmp_path / "empty.yaml").write_text("name: x\n")
    with pytest.raises(BenchError, match=rf"has no `defaults`; begin it with `defaults: \[{base}, _self_\]`"):
        primary([str(tmp_path / "empty.yaml")])


def test_compare_without_a_name_is_the_default_and_a_name_is_an_experiment() -> None:
    assert compare_file.primary([]) == ("compare", [])
    assert compare_file.primary(["tune=learning_rate", "seed=1"]) == (
        "compare",
        ["comparison.tune=learning_rate", "seed=1"],
    )
    assert compare_file.primary(["smollm2_addition"]) == ("compare", ["experiment=smollm2_addition"])
    assert compare_file.known_experiments() == ["arithmetic", "smollm2_addition"], "`own` and the recipes have no arms"


def test_the_file_of_a_comparison_is_composed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "defaults: [compare, _self_]\nname: mine\n"
        "comparison: {arms: {half: {like: sfpo, overrides: [algorithm.update_rule.alpha=0.5]}}}\n"
    )
    composed = yaml.safe_load(cli("compare", "mine.yaml", "comparison.seeds=3", "--cfg", "job").stdout)
    assert (composed["name"], composed["comparison"]["seeds"]) == ("mine", 3)
    assert list(composed["comparison"]["arms"]) == ["grpo", "sfpo", "repeat", "grpo_sfpo_rate", "half"]
