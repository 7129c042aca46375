"""How the code is built, in numbers: `python benchmarks/house.py [--against COMMIT]`.

What is counted, over the Python files of the package:

    lines                  all lines
    modules at the root    files beside `__init__.py` and `__main__.py`
    chains to the rule     files from the module of `sfpo-bench train` to `algorithms/update_rules.py`, and to the
                           protocol by which the training loop calls a rule, both ends included: of the shortest chain
                           of imports, and of all chains together. An import inside a function counts, one for types
                           alone does not; `from package import name` opens the name's module, else the package's
                           `__init__.py`
    calls to the rule      files whose functions call each other on the way from `sfpo-bench train` to the update rule's
                           first pass, both ends included, in a step that is run
    file names             texts that are a whole file name (`comparison.json`), and those that several modules spell
    class names            defined more than once in the package
    comments               lines that hold a comment and nothing else, of 1,000 lines, in the package and its parts
    longest                function and file, in lines; decorators belong to the function
    train --help           lines

With `--against` a second column has the numbers of that commit, from a worktree that is removed again.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import re
import subprocess
import sys
import tempfile
import tokenize
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "sfpo_bench"
VERB, LOOP, RULE = "cli/train.py", "training/trainer.py", "algorithms/update_rules.py"
ENDS = {"the rule": RULE, "its protocol": "algorithms/protocols.py"}
COMMENTED = ("training", "rollout", "attention")
_FILE_NAME = re.compile(r"[\w.-]+\.(csv|db|html|jsonl?|lock|log|md|parquet|png|safetensors|tex|toml|txt|ya?ml)")


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the package: `Source("cli/train.py", ...)`; `imports` are files of the package, by the same names."""

    name: str
    text: str
    tree: ast.Module
    imports: frozenset[str]

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


def read(package: Path) -> dict[str, Source]:
    """The files of a package by their path inside it."""
    texts = {
        path.relative_to(package).as_posix(): path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))
    }
    return {
        name: Source(name, text, (tree := ast.parse(text)), frozenset(_imports(tree, package.name, texts.keys())))
        for name, text in texts.items()
    }


def _imports(tree: ast.Module, package: str, files: Mapping[str, object] | set[str]) -> Iterator[str]:
    """The files whose names a module takes: of `from package.part import name` the submodule if there is one."""
    for node in _at_run_time(tree):
        wanted: list[str] = []
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            wanted = [f"{node.module}.{alias.name}" for alias in node.names]
        for dotted in wanted:
            parts = dotted.split(".")
            if parts[0] != package:
                continue
            inside = "/".join(parts[1:])
            above = "/".join(parts[1:-1])
            places = (f"{inside}.py", f"{inside}/__init__.py", f"{above}.py", f"{above}/__init__.py".lstrip("/"))
            found = next((place for place in places if place in files), None)
            if found is not None:
                yield found


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield child
            yield from _at_run_time(child)


def shortest_chain(sources: Mapping[str, Source], start: str, end: str) -> list[str]:
    """Files from `start` to `end`, each importing the next, as few as there can be; empty where none leads there."""
    came_from, waiting = {start: start}, deque([start])
    while waiting and end not in came_from:
        here = waiting.popleft()
        for name in sorted(sources[here].imports - came_from.keys()):
            came_from[name] = here
            waiting.append(name)
    if end not in came_from:
        return []
    chain = [end]
    while chain[-1] != start:
        chain.append(came_from[chain[-1]])
    return chain[::-1]


def between(sources: Mapping[str, Source], start: str, end: str) -> set[str]:
    """Every file on some chain of imports from `start` to `end`, both included."""
    importers: dict[str, set[str]] = defaultdict(set)
    for source in sources.values():
        for name in source.imports:
            importers[name].add(source.name)
    down = _reached(start, {name: set(source.imports) for name, source in sources.items()})
    return down & _reached(end, importers)


def _reached(start: str, following: Mapping[str, set[str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        more = following.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


def file_names(sources: Mapping[str, Source]) -> dict[str, set[str]]:
    """The modules that spell each file name as a text of its own; docstrings are prose and do not count."""
    spelled: dict[str, set[str]] = defaultdict(set)
    for source in sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _FILE_NAME.fullmatch(node.value):
                spelled[node.value].add(source.name)
    return dict(spelled)


def repeated_classes(sources: Mapping[str, Source]) -> dict[str, list[str]]:
    """Class names that are defined more than once, with the files that define them."""
    places: dict[str, list[str]] = defaultdict(list)
    for source in sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(source.name)
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def comment_lines(text: str) -> int:
    """Lines that hold a comment and nothing else."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and token.line.lstrip().startswith("#") for token in tokens)


def longest_function(sources: Mapping[str, Source]) -> tuple[int, str]:
    """Lines and place of the longest function, from its first decorator to its end."""
    return max(
        (_span(node), f"{source.name}:{node.name}")
        for source in sources.values()
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )


def _span(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return (node.end_lineno or first) - first + 1


def help_lines(root: Path) -> int:
    """Lines of `sfpo-bench train --help` of the checkout at `root`."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", PACKAGE, "train", "--help"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


# Prints the files on the stack when the training loop first calls the rule, and ends there.
_CALLS = """
import os, sys
from sfpo_bench.cli.main import main
rule, loop, *settings = sys.argv[1:]
def watch(frame, event, _):
    if event == "call" and frame.f_code.co_filename.endswith(rule):
        files = []
        while frame:
            files.append(frame.f_code.co_filename.replace(os.sep, "/").rpartition("sfpo_bench/")[2])
            frame = frame.f_back
        if loop in files:
            print(*(name for name in dict.fromkeys(files[::-1]) if "/" in name[1:] and name[0] != "/"), flush=True)
            os._exit(0)
sys.setprofile(watch)
main(settings)
"""
_TINY_RUN = (
    *("train", "algorithm=sfpo", "tracking=none", "training.steps=1", "rollout.prompts=2"),
    *("evaluation.responses=4", "evaluation.select_responses=4", "evaluation.greedy_problems=0"),
)


def calls_to_the_rule(root: Path) -> list[str]:
    """Files whose functions call each other on the way to the rule's first pass, in a run of SFPO; none if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", _CALLS, RULE, LOOP, *_TINY_RUN]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[-1].split() if done.returncode == 0 and done.stdout else []


def measures(root: Path) -> dict[str, str]:
    """What is printed of the checkout at `root`, by the name of the measure."""
    sources = read(root / PACKAGE)
    names, classes = file_names(sources), repeated_classes(sources)
    shared = {name: modules for name, modules in names.items() if len(modules) > 1}
    longest = max(sources.values(), key=lambda source: source.lines)
    length, place = longest_function(sources)
    found = {
        "lines of the package": f"{sum(source.lines for source in sources.values()):,}",
        "modules at the root": str(len([n for n in sources if "/" not in n and not n.startswith("__")])),
        "calls to the rule": f"{len(called := calls_to_the_rule(root))} files: {' > '.join(called)}",
        **dict(_ways(sources)),
        "file names, and those of several modules": f"{len(names)}, {len(shared)}",
        "class names defined more than once": f"{len(classes)}: {', '.join(classes)}",
    }
    for part in ("", *COMMENTED):
        inside = [source for source in sources.values() if source.name.startswith(f"{part}/" if part else "")]
        share = 1000 * sum(comment_lines(s.text) for s in inside) / max(1, sum(s.lines for s in inside))
        found[f"comments of 1,000 lines{f' in {part}/' if part else ''}"] = f"{share:.1f}"
    found["longest function"] = f"{length} ({place})"
    found["longest file"] = f"{longest.lines} ({longest.name})"
    found["lines of train --help"] = str(help_lines(root))
    for name, modules in sorted(shared.items(), key=lambda item: (-len(item[1]), item[0])):
        found[f"modules that spell {name}"] = str(len(modules))
    return found


def _ways(sources: Mapping[str, Source]) -> Iterator[tuple[str, str]]:
    for name, end in ENDS.items():
        chain, opened = shortest_chain(sources, VERB, end), between(sources, VERB, end)
        yield f"shortest chain to {name}", f"{len(chain)} files: {' > '.join(chain)}"
        yield f"all chains to {name}", f"{len(opened)} files, {sum(sources[n].lines for n in opened):,} lines"


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The files of a commit in a worktree that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        added = subprocess.run([*git, "add", "--detach", str(place), commit], capture_output=True, text=True)
        if added.returncode:
            sys.exit(f"--against {commit}: {added.stderr.strip()}; expected a commit of this repository")
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True, capture_output=True)


def main() -> None:
    """Print the numbers of this checkout, and of another commit beside them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="a commit whose numbers stand in a column before")
    commit = parser.parse_args().against
    columns = []
    if commit:
        with checkout(commit) as before:
            columns.append(measures(before))
    columns.append(measures(ROOT))
    for name in dict.fromkeys(name for column in columns for name in column):
        print(
            "\n  ".join([name, *(column.get(name, "1 or none") for column in columns)])
            if commit
            else f"{name}: {columns[0][name]}"
        )


if __name__ == "__main__":
    main()
