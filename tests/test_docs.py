"""The documentation is true: its examples run, the files it names exist, the commands it shows parse."""

from __future__ import annotations

import re
import runpy
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from docs import include, make_settings
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.update_rules import OnePass, Repeat
from sfpo_bench.cli.usage import POSITIONAL, VERBS
from sfpo_bench.core.options import check_ranges
from sfpo_bench.core.types import Completion, FinishReason, Split
from sfpo_bench.models.arithmetic_character import FOLDER
from sfpo_bench.settings.config import KINDS
from tests.conftest import TINY, Cli
from tests.training.test_learner import ADAMW, largest_difference, learn, same_bits

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *ROOT.glob("*/README.md"),
    ]
)


OWN = [ROOT / "examples" / f"own_{what}.py" for what in ("objective", "rule", "task", "reward")]


@cache
def examples() -> dict[str, Any]:
    """What the modules of examples/ that extend the package have, which docs/extending.md shows."""
    return {name: value for module in OWN for name, value in runpy.run_path(str(module)).items()}


def test_pages_include_what_other_files_own() -> None:
    pages = include.pages()
    assert {page.name for page in pages} == {"architecture.md", "extending.md", "finding.md", "methods.md"}
    stale = [page.name for page in pages if include.included(page.read_text()) != page.read_text()]
    assert not stale, "run: python -m docs.include"


def test_the_page_on_extending_shows_every_module_that_extends() -> None:
    shown = re.findall(r"<!-- include: (\S+) -->", (ROOT / "docs" / "extending.md").read_text())
    assert [ROOT / name for name in shown] == OWN and set(OWN) == set(ROOT.glob("examples/own_*.py"))


def test_what_one_adds_of_ones_own_takes_less_than_forty_lines_each() -> None:
    assert [len(module.read_text().splitlines()) < 40 for module in OWN] == [True] * 4


def test_the_task_of_the_page_has_problems_in_every_split_and_knows_a_right_answer() -> None:
    task = examples()["Doubling"]()
    problems = [problem for split in Split for problem in task.problems(split)]
    assert all(task.problems(split) for split in Split) and len({problem.id for problem in problems}) == 201
    seven = next(problem for problem in problems if problem.text == "2*7+0")
    given = Completion(seven.id, 0, (1,), (2,), (0.0,), "14", FinishReason.stopped)
    assert task.grade(seven, given).reward == 1 and task.grade(seven, replace(given, text="15")).reward == 0
    brief = examples()["brief"]
    assert [brief(seven, text).reward for text in ("14", "it is 14", "15")] == [1.0, 0.5, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_a_command_of_the_page_trains_with_the_classes_of_the_page(number: int, cli: Cli, tmp_path: Path) -> None:
    rows = [f'{{"problem": "2*{n}+0=", "answer": "{2 * n}"}}' for n in range(200)]
    (tmp_path / "own.jsonl").write_text("\n".join(rows))
    lines = [line for line in OWN[number].read_text().splitlines() if line.startswith("sfpo-bench train ")]
    assert len(lines) == 1
    words = lines[0].replace("MODEL", str(FOLDER)).replace("FILE", "own.jsonl").split()[2:]
    if "task=jsonl" in words:
        words += ["task.chat=false", "task.prompt_template='{problem}'", "rollout.max_new_tokens=8"]
    done = cli(
        "train", *words, *TINY, "tracking=none", prelude=f"import sys; sys.path.insert(0, {str(OWN[0].parent)!r})"
    )
    named = next((word.split("=")[1] for word in words if word.startswith(("algorithm.name=", "name="))), "own")
    assert named in done.stdout and len(list((tmp_path / "results" / "runs").iterdir())) == 1


def test_the_objective_of_the_page_is_grpos_first_pass_without_scaling() -> None:
    """At ratio 1 every policy-gradient objective has the same gradient."""
    plain = Clipped()
    example = examples()["Reinforce"]()
    assert (
        largest_difference(
            learn(OnePass(), objective=example, **ADAMW)[0], learn(OnePass(), objective=plain, **ADAMW)[0]
        )
        < 1e-12
    )


def test_the_update_rule_of_the_page_is_repeat_at_first_and_one_pass_in_the_end() -> None:
    rule = examples()["Fading"]
    check_ranges(rule())
    assert same_bits(learn(rule(passes=3), steps=1, **ADAMW)[0], learn(Repeat(passes=4), steps=1, **ADAMW)[0])
    _, stages = learn(rule(passes=2, fade_steps=2), steps=4, **ADAMW)
    assert [len(step) for step in stages] == [3, 3, 1, 1]


def test_the_update_rule_of_the_page_remembers_through_its_state_how_far_it_has_faded() -> None:
    rule = examples()["Fading"]
    faded, taken_up = rule(fade_steps=2), rule(fade_steps=2)
    learn(faded, steps=2, **ADAMW)
    taken_up.restore(faded.state())
    assert same_bits(learn(taken_up, **ADAMW)[0], learn(OnePass(), **ADAMW)[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"`((?:sfpo_bench|tests|docs|sweeps|benchmarks|evaluations|notebooks)/[\w./-]*)`", text))
    linked = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in linked if not (page.parent / link).exists()]
    assert not missing


def commands() -> list[str]:
    """Every sfpo-bench command line in a code block of a page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip().startswith("sfpo-bench "):
                    found.append(re.split(r"\s#", line.strip())[0].strip())
    return found


@pytest.mark.parametrize("line", commands())
def test_every_command_shown_is_a_verb_with_overrides_that_parse(line: str) -> None:
    _, verb, *rest = shlex.split(line)
    assert verb in VERBS
    overrides = [word for word in rest if not word.startswith("-")]
    for _ in (*POSITIONAL.get(verb, ()), *(["name"] if verb in ("compare", "sweep", "study") else [])):
        if overrides and "=" not in overrides[0]:
            overrides = overrides[1:]
    OverridesParser.create().parse_overrides(overrides)


def test_the_page_of_settings_is_what_the_declarations_say() -> None:
    assert make_settings.PAGE.read_text() == make_settings.page(), "run: python docs/make_settings.py"


def test_the_glossary_has_ten_terms_and_each_is_used_elsewhere() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    terms = re.findall(r"^### (.*)$", text, re.MULTILINE)
    others = " ".join(page.read_text() for page in PAGES if page.name != "glossary.md").lower()
    assert len(terms) == 10 and not [word for term in terms for word in term.split(", ") if word not in others]


def test_every_expected_time_stands_in_the_page_where_it_was_measured() -> None:
    text = (ROOT / "docs" / "expected_times.md").read_text()
    rows = re.findall(r"^\| .* \| (.*) \| \[[^]]*\]\(([^)#]+)(?:#[^)]*)?\) \|$", text, re.MULTILINE)
    found = {page: " ".join((ROOT / "docs" / page).read_text().split()) for _, page in rows}
    assert len(rows) > 10 and [time for time, page in rows if time not in found[page]] == []


@pytest.mark.parametrize("page", ["own_model_and_data", "troubleshooting", "from_trl_and_verl", "expected_times"])
def test_every_setting_that_a_page_for_beginners_names_is_there(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    if page == "from_trl_and_verl":  # the other columns name settings of other trainers
        text = "\n".join(row.split(" | ")[-1] for row in text.splitlines() if row.startswith("| "))
    known = {*re.findall(r"^\| `([\w.]+)` \|", make_settings.page(), re.MULTILINE), *(f"{key}.kind" for key in KINDS)}
    sections = {key.partition(".")[0] for key in known if "." in key} - {"data", "sampling"}
    named = {found[1] for found in re.finditer(r"(?<![\w./-])([a-z_]+\.[a-z_.]+)(?=[=`\s,])", text)}
    assert (named := {key for key in named if key.split(".")[0] in sections}) and not named - known


def test_every_make_target_that_a_page_names_is_there() -> None:
    targets = re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"(?:^|`)make (?:[A-Z_]+=\S+ )*([a-z][a-z0-9-]*)", page.read_text(), re.MULTILINE)
    }
    assert {target for _, target in named} >= {"check", "test", "docs"}
    assert [pair for pair in sorted(named) if pair[1] not in targets] == []


def test_hooks_before_a_commit_run_in_the_environment_of_the_project_and_fetch_nothing() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert [(hook["language"], hook["entry"].split("/")[:2]) for hook in hooks] == [("system", [".venv", "bin"])] * 3


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_begins_with_what_its_reader_can_do_after_it(page: Path) -> None:
    assert re.match(r"# .+\n\nAfter this page you ", page.read_text())
