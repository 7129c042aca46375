"""What benchmarks/house.py counts, on a package that is small enough to count by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "house.py"
FILES = {
    "__init__.py": "",
    "cli.py": """
        from tiny.run import go
        from tiny.words import Word
        """,
    "run.py": """
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from tiny.shortcut import Never


        def go():
            from tiny.parts import rule

            return rule


        def read():
            return "data.json"
        """,
    "shortcut.py": "from tiny.parts.rule import Rule\n\nNever = Rule",
    "words.py": """
        \"\"\"data.json is prose here.\"\"\"


        # A reason.
        class Word:
            name = "data.json"  # beside code, so no line of its own
            other = "once.csv"
            text = "see data.json"
        """,
    "parts/__init__.py": "",
    "parts/rule.py": """
        import tiny.parts.base


        class Word:
            @staticmethod
            def long():
                return (
                    1,
                )
        """,
    "parts/base.py": "",
}


@pytest.fixture(scope="module")
def house() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path: Path) -> Path:
    from textwrap import dedent

    for name, text in FILES.items():
        path = tmp_path / "tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).strip() + "\n" if text else "")
    return tmp_path / "tiny"


def test_the_shortest_chain_goes_by_imports_in_functions_and_not_by_those_for_types(
    house: ModuleType, package: Path
) -> None:
    sources = house.read(package)
    assert house.shortest_chain(sources, "cli.py", "parts/rule.py") == ["cli.py", "run.py", "parts/rule.py"]
    assert house.shortest_chain(sources, "words.py", "parts/rule.py") == []


def test_the_files_between_two_are_those_that_the_one_leads_to_and_that_lead_to_the_other(
    house: ModuleType, package: Path
) -> None:
    sources = house.read(package)
    assert house.between(sources, "cli.py", "parts/rule.py") == {"cli.py", "run.py", "parts/rule.py"}
    (package / "words.py").write_text("from tiny import shortcut\n")
    assert house.between(house.read(package), "cli.py", "parts/rule.py") == {
        *("cli.py", "run.py", "words.py", "shortcut.py", "parts/rule.py")
    }


def test_a_name_taken_from_a_package_opens_its_first_file(house: ModuleType, package: Path) -> None:
    (package / "words.py").write_text("from tiny import VERSION\nfrom tiny.parts import NAMES\n")
    assert house.read(package)["words.py"].imports == {"__init__.py", "parts/__init__.py"}


def test_a_file_name_is_a_text_of_its_own(house: ModuleType, package: Path) -> None:
    assert house.file_names(house.read(package)) == {"data.json": {"run.py", "words.py"}, "once.csv": {"words.py"}}


def test_classes_of_one_name_are_found_wherever_they_are(house: ModuleType, package: Path) -> None:
    assert house.repeated_classes(house.read(package)) == {"Word": ["parts/rule.py", "words.py"]}


def test_a_comment_counts_where_it_has_the_line(house: ModuleType, package: Path) -> None:
    sources = house.read(package)
    assert [house.comment_lines(sources[name].text) for name in ("words.py", "run.py")] == [1, 0]


def test_the_longest_function_has_its_decorators(house: ModuleType, package: Path) -> None:
    assert house.longest_function(house.read(package)) == (5, "parts/rule.py:long")


def test_a_commit_that_is_not_there_is_refused(house: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"no-such-commit.*expected a commit"), house.checkout("no-such-commit"):
        pass


def test_this_project_has_what_is_measured(house: ModuleType) -> None:
    """The two ends of the way are there; a moved file would measure nothing."""
    sources = house.read(house.ROOT / house.PACKAGE)
    for end in house.ENDS.values():
        chain = house.shortest_chain(sources, house.VERB, end)
        assert (chain[0], chain[-1]) == (house.VERB, end)
        assert set(chain) <= house.between(sources, house.VERB, end)
    assert all(any(name.startswith(f"{part}/") for name in sources) for part in house.COMMENTED)


def test_functions_and_files_stay_short_and_a_class_name_means_one_class(house: ModuleType) -> None:
    """The limits that docs/architecture.md states; the graders keep their names, which are in their fingerprint."""
    sources = house.read(house.ROOT / house.PACKAGE)
    assert house.longest_function(sources) <= (42, "~")
    assert {name: source.lines for name, source in sources.items() if source.lines > 470} == {}
    repeated = house.repeated_classes(sources)
    assert set(repeated) == {"Evaluation", "Request", "Summary", "Unit"}
    assert all(any(place.startswith("grading/") for place in places) for places in repeated.values())


@pytest.mark.slow
def test_few_files_lie_between_the_command_and_the_first_pass_of_the_rule(house: ModuleType) -> None:
    called = house.calls_to_the_rule(house.ROOT)
    assert called[0] == "cli/main.py" and called[-2:] == [house.LOOP, house.RULE] and len(called) <= 14
