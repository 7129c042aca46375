"""Run the listed mutations, `make mutants`: each in a copy of the project, under the tests that are to notice it.

    python tests/mutants/run.py [--jobs 2] [--only TEXT ...] [--again]

What has been run stays in .mutants/results.jsonl and is not run again while the module and its tests are what they
were. Ends with 1 when a mutation survives that is not explained, or an explained one does not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from listed import ROOT, Mutation, listed  # type: ignore[import-not-found, unused-ignore]  # run as a script

RESULTS = ROOT / ".mutants" / "results.jsonl"
COPIED = (
    "sfpo_bench",
    "tests",
    "evaluations",
    "sweeps",
    "hydra_plugins",
    "docs",
    "notebooks",
    "benchmarks",
    "examples",
)
_WRONG_PACKAGE, _OUTPUT = 90, "output.txt"


@dataclass(frozen=True, slots=True)
class Result:
    """`verdict`: killed, survived or error (no test ran, or not on the mutated package); `seconds` of its tests."""

    name: str
    state: str
    verdict: str
    seconds: float


@dataclass(slots=True)
class Slot:
    """A copy of the project and what runs in it."""

    folder: Path
    process: int = 0
    mutation: Mutation | None = None
    source: str = ""
    started: float = 0.0
    limit: float = 600.0


@dataclass(slots=True)
class Runner:
    """Mutations in `jobs` copies of the project at a time, each test run a fork of this process, which has imported
    what takes seconds to import and nothing of the project."""

    jobs: int
    slots: list[Slot] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def run(self, todo: list[Mutation], below: Path) -> None:
        """Check that the tests pass as things are, then run every mutation and write down what came of it."""
        self.states = {one.name: _state(one) for one in todo}  # of what is copied now, whatever is edited meanwhile
        self.slots = [Slot(_copy(below / str(number))) for number in range(self.jobs)]
        for test in dict.fromkeys(test for one in todo for test in one.tests):
            started = time.monotonic()
            code = os.waitstatus_to_exitcode(os.waitpid(_forked(self.slots[0].folder, (test,)), 0)[1])
            if code:
                print((self.slots[0].folder / _OUTPUT).read_text())
                raise SystemExit(f"{test} fails without any mutation (exit status {code}); mend that first")
            self.seconds[test] = time.monotonic() - started
        waiting = list(reversed(todo))
        while waiting or any(slot.mutation for slot in self.slots):
            for slot in self.slots:
                if slot.mutation is None and waiting:
                    self._begin(slot, waiting.pop())
                elif slot.mutation is not None:
                    self._look(slot)
            time.sleep(0.02)

    def _begin(self, slot: Slot, mutation: Mutation) -> None:
        slot.mutation, slot.source = mutation, mutation.source(slot.folder)
        (slot.folder / "sfpo_bench" / mutation.module).write_text(mutation.applied(slot.source), encoding="utf-8")
        slot.started = time.monotonic()
        slot.limit = 30 + 10 * sum(self.seconds[test] for test in mutation.tests)
        slot.process = _forked(slot.folder, mutation.tests)

    def _look(self, slot: Slot) -> None:
        mutation, spent = slot.mutation, time.monotonic() - slot.started
        ended, status = os.waitpid(slot.process, os.WNOHANG)
        late = not ended and spent > slot.limit
        if mutation is None or not (ended or late):
            return
        if late:  # a loop without an end is noticed
            os.killpg(slot.process, signal.SIGKILL)
            os.waitpid(slot.process, 0)
        verdict = "killed" if late else _verdict(os.waitstatus_to_exitcode(status))
        (slot.folder / "sfpo_bench" / mutation.module).write_text(slot.source, encoding="utf-8")
        slot.mutation = None
        result = Result(mutation.name, self.states[mutation.name], verdict, round(spent, 1))
        with RESULTS.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(asdict(result)) + "\n")
        print(f"{result.seconds:6.1f} s  {verdict:9}{mutation.name}", flush=True)


def _verdict(code: int) -> str:
    """Of pytest's exit status: 1 a test failed, 2 a test file could not be imported, 0 all passed."""
    return {0: "survived", 1: "killed", 2: "killed"}.get(code, "error")


def _copy(to: Path) -> Path:
    skip = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in COPIED:
        shutil.copytree(ROOT / name, to / name, ignore=skip)
    for file in ROOT.glob("*.*"):
        if file.is_file():
            shutil.copy(file, to / file.name)
    return to


def _forked(folder: Path, tests: tuple[str, ...]) -> int:
    process = os.fork()
    if process:
        return process
    code = _WRONG_PACKAGE
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(folder)
        sys.path[0] = str(folder)
        del sys.modules["__main__"].__file__  # processes that a test starts afresh must not import this script
        with open(folder / _OUTPUT, "w") as told:
            os.dup2(told.fileno(), 1)
            os.dup2(told.fileno(), 2)
        options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain"]
        ended = int(pytest.main([*options, f"--basetemp={folder / '.tmp'}", *tests]))
        package = str(getattr(sys.modules.get("sfpo_bench"), "__file__", folder))
        if package.startswith(str(folder)):
            code = ended
    except BaseException:
        # A mutant may end a process in any way.
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _state(mutation: Mutation) -> str:
    """What a result holds for: the module and the tests as they are."""
    texts = [mutation.source(ROOT), *((ROOT / test).read_text(encoding="utf-8") for test in mutation.tests)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _known() -> dict[tuple[str, str], Result]:
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    found = [Result(**json.loads(line)) for line in lines]
    return {(one.name, one.state): one for one in found if one.verdict != "error"}


def _report(chosen: list[Mutation]) -> int:
    """Print counts and survivors; returns how many were not as the list says."""
    known = _known()
    found = {one.name: known.get((one.name, _state(one))) for one in chosen}
    of = {verdict: [n for n, r in found.items() if r and r.verdict == verdict] for verdict in ("killed", "survived")}
    reasons = {one.name: one.equivalent for one in chosen}
    unlike = [name for name in of["survived"] if not reasons[name]] + [name for name in of["killed"] if reasons[name]]
    unlike += [name for name, result in found.items() if result is None]
    seconds = sum(result.seconds for result in found.values() if result)
    killed, survived = len(of["killed"]), len(of["survived"])
    explained = sum(bool(reasons[name]) for name in of["survived"])
    print(
        f"\n{len(chosen)} mutations: {killed} killed, {survived} survived ({explained} explained), "
        f"{len(chosen) - killed - survived} errors; {seconds:.0f} s of tests"
    )
    for name in of["survived"]:
        print(f"  survived  {name}{'  ## ' + reasons[name] if reasons[name] else ''}")
    for name in (one for one in unlike if one not in of["survived"]):
        print(f"  {'killed, though explained' if name in of['killed'] else 'error'}  {name}")
    return len(unlike)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="mutations at a time")
    parser.add_argument("--only", nargs="+", default=[""], help="mutations whose name has one of these texts")
    parser.add_argument("--again", action="store_true", help="run what has been run as well")
    asked = parser.parse_args()
    chosen = [one for one in listed() if any(text in one.name for text in asked.only)]
    for one in chosen:
        one.applied(one.source(ROOT))
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.dont_write_bytecode = True  # two mutations of a second may have one size
    RESULTS.parent.mkdir(exist_ok=True)
    known = {} if asked.again else _known()
    todo = [one for one in chosen if (one.name, _state(one)) not in known]
    if todo:
        import torch  # noqa: F401
        import transformers.models.llama.modeling_llama
        import transformers.models.qwen2.modeling_qwen2  # noqa: F401
        from scipy import optimize, stats  # noqa: F401

        with tempfile.TemporaryDirectory(prefix="mutants-") as below:
            Runner(asked.jobs).run(todo, Path(below))
    sys.exit(1 if _report(chosen) else 0)


if __name__ == "__main__":
    main()
