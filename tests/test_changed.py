"""`make check` runs the tests of what changed: those that import it, those of its folder, and itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.changed import ALWAYS, EVERYTHING, changed_files, choose, imported_by_tests

IMPORTED = {
    "tests/a/test_b.py": frozenset({"sfpo_bench.a.b"}),
    "tests/a/test_c.py": frozenset({"sfpo_bench.a.c"}),
    "tests/d/test_e.py": frozenset({"sfpo_bench.a.b", "tests.tool"}),
    "tests/test_docs.py": frozenset({"sfpo_bench.f"}),
    ALWAYS: frozenset({"sfpo_bench"}),
}


def chosen(*changed: str) -> set[str]:
    return set(choose(changed, IMPORTED)) - {ALWAYS}


def test_a_module_chooses_who_imports_it_and_the_folder_of_its_name() -> None:
    assert chosen("sfpo_bench/a/b.py") == {"tests/a/test_b.py", "tests/a/test_c.py", "tests/d/test_e.py"}
    assert chosen("sfpo_bench/f.py") == {"tests/test_docs.py"}
    assert chosen("sfpo_bench/a/data.json") == {"tests/a/test_b.py", "tests/a/test_c.py"}


def test_a_test_chooses_itself_and_what_tests_share_chooses_who_imports_it() -> None:
    assert chosen("tests/a/test_c.py") == {"tests/a/test_c.py"}
    assert chosen("tests/tool.py") == {"tests/d/test_e.py"}


def test_a_page_chooses_the_tests_of_pages_and_nothing_changed_chooses_the_structure() -> None:
    assert chosen("docs/protocol.md") == {"tests/test_docs.py"}
    assert choose([], IMPORTED) == [ALWAYS]


def test_what_every_test_depends_on_chooses_all() -> None:
    for name in EVERYTHING:
        assert choose([name], IMPORTED) == sorted(IMPORTED)


def test_every_package_module_that_a_test_imports_chooses_that_test() -> None:
    here = Path(__file__).relative_to(Path(__file__).parents[1]).as_posix()
    assert "tests.changed" in imported_by_tests()[here]
    assert here in choose(["tests/changed.py"], imported_by_tests())


def test_changed_is_what_the_branch_committed_edited_and_added(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@localhost")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-b", "main")
    for name in ("kept", "edited", "committed"):
        (tmp_path / name).write_text("before")
    git("add", ".")
    git("commit", "-m", "first")
    git("checkout", "-b", "work")
    (tmp_path / "committed").write_text("after")
    git("commit", "-am", "second")
    (tmp_path / "edited").write_text("after")
    (tmp_path / "added").write_text("new")
    assert changed_files(tmp_path, None) == ["added", "committed", "edited"]
    assert changed_files(tmp_path, "HEAD") == ["added", "edited"]
