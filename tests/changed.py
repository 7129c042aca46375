"""Run the fast tests of what changed, `make check`.

    python tests/changed.py [--base COMMIT] [--list]

What changed is what differs from the commit where this branch left main (or from `--base`), committed or not. The rule:

- a test file that changed is run;
- for `sfpo_bench/a/b.py`: the test files that import that module, and those of `tests/a/`;
- for another file of `sfpo_bench/a/`: those of `tests/a/`;
- for a page, an example, a notebook or a sweep: tests/test_docs.py, tests/test_examples.py, the folder of its name;
- for what every test depends on (`pyproject.toml`, `tests/conftest.py`): everything;
- tests/test_structure.py always.

What a module does to modules that import it is not followed: `make test` runs everything and decides.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
ALWAYS = "tests/test_structure.py"
EVERYTHING = frozenset({"pyproject.toml", "tests/conftest.py"})
DOCUMENTS = ("tests/test_docs.py", "tests/test_examples.py")


def changed_files(root: Path, base: str | None) -> list[str]:
    """Paths that differ from `base`, or from where HEAD left main, or (on main itself) from HEAD; new files too."""
    start = base or _left_main(root)
    names = _git(root, "diff", "--name-only", start).splitlines()
    return sorted({*names, *_git(root, "ls-files", "--others", "--exclude-standard").splitlines()})


def _left_main(root: Path) -> str:
    for name in ("main", "origin/main"):
        found = subprocess.run(["git", "merge-base", "HEAD", name], cwd=root, capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.strip()
    return "HEAD"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"git {' '.join(arguments)}: {done.stderr.strip()}; name a commit with --base (BASE= of make check)")
    return done.stdout


def choose(changed: Iterable[str], imported: Mapping[str, frozenset[str]]) -> list[str]:
    """Test files to run for `changed` paths; `imported` says which modules each test file imports."""
    found = {ALWAYS} & imported.keys()
    for name in changed:
        if name in EVERYTHING:
            return sorted(imported)
        found |= {test for test, modules in imported.items() if _concerns(PurePosixPath(name), test, modules)}
    return sorted(found)


def _concerns(changed: PurePosixPath, test: str, modules: frozenset[str]) -> bool:
    if changed.parts[0] == "tests":
        return str(changed) == test or _module(changed) in modules
    if changed.parts[0] == "sfpo_bench":
        return _module(changed) in modules or (len(changed.parts) > 2 and test.startswith(f"tests/{changed.parts[1]}/"))
    return test in DOCUMENTS or test.startswith(f"tests/{changed.parts[0]}/") or _module(changed) in modules


def _module(path: PurePosixPath) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@cache
def imported_by_tests(root: Path = ROOT) -> Mapping[str, frozenset[str]]:
    """Every test file of the project with the modules it imports; `from a import b` counts as `a` and `a.b`."""
    files = sorted(root.glob("tests/**/test_*.py"))
    return {file.relative_to(root).as_posix(): _imports(file) for file in files}


def _imports(file: Path) -> frozenset[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the fast tests of what changed.")
    parser.add_argument("--base", help="commit to compare with; without it, where this branch left main")
    parser.add_argument("--list", action="store_true", help="print the chosen test files and run none")
    arguments = parser.parse_args()
    changed = changed_files(ROOT, arguments.base)
    chosen = choose(changed, imported_by_tests())
    print(f"{len(changed)} files changed; {len(chosen)} of {len(imported_by_tests())} test files:", *chosen, sep="\n  ")
    if arguments.list:
        return 0
    command = [sys.executable, "-m", "pytest", "-n", "2", "-ra", "-q", *chosen]
    found = subprocess.run(command, cwd=ROOT).returncode
    return 0 if found == 5 else found  # 5: every test of these files is a slow one


if __name__ == "__main__":
    sys.exit(main())
