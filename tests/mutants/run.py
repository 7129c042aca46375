"""Run the listed mutations, `make mutants`: each in a copy of the project, under the tests that are to notice it.

    python tests/mutants/run.py [--jobs 2] [--only TEXT ...] [--again]

Each test file runs once without mutations, to see that it passes and which lines its tests run; then a mutation meets
the tests that run its lines first, and the first that fails is enough. What has been run stays in .mutants and is not
run again while the module and its tests are what they were. Ends with 1 when a mutation survives that is not explained,
or an explained one does not.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from listed import ROOT, Mutation, listed  # type: ignore[import-not-found, unused-ignore]  # run as a script
from reached import InOrder, Reached, Recorder, lines_of, order_of  # type: ignore[import-not-found, unused-ignore]

RESULTS = ROOT / ".mutants" / "results.jsonl"
REACHED = ROOT / ".mutants" / "reached"
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
# Nothing of the project: a fork must import that from its own copy.
_SLOW_TO_IMPORT = (
    *("torch", "transformers.models.llama.modeling_llama", "transformers.models.qwen2.modeling_qwen2"),
    *("scipy.optimize", "scipy.stats", "hydra.utils", "hypothesis.strategies", "mlflow", "pyarrow.parquet", "flint"),
)
# A test that takes long is not wrong: the limit of a mutation is its tests' own, together.
_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--timeout=0")
NOTICED = ("killed", "timed out")
_WAITING = 10  # times as long as it may compute: a machine may be busy with something else
_WRONG_PACKAGE, _OUTPUT, _REACHED = 90, "output.txt", "reached.json"


@dataclass(frozen=True, slots=True)
class Result:
    """`verdict`: killed, timed out (its tests did not end: noticed as well), survived or error (no test ran, or not on
    the mutated package); `seconds` of computing."""

    name: str
    state: str
    verdict: str
    seconds: float


@dataclass(slots=True)
class Slot:
    """A copy of the project and what runs in it, for `limit` seconds of computing at most."""

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
    reached: dict[str, dict[str, Reached]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def run(self, todo: list[Mutation], below: Path) -> None:
        """Run every mutation, its tests first as things are, and write down what came of it."""
        self.states = {one.name: _state(one) for one in todo}  # of what is copied now, whatever is edited meanwhile
        self.slots = [Slot(_copy(below / str(number))) for number in range(self.jobs)]
        waiting = list(reversed(todo))
        while waiting or any(slot.mutation for slot in self.slots):
            for slot in self.slots:
                if slot.mutation is None and waiting:
                    self._begin(slot, waiting.pop())
                elif slot.mutation is not None:
                    self._look(slot)
            time.sleep(0.02)

    def _without_mutation(self, folder: Path, test: str) -> dict[str, Reached]:
        """What each test of a file reaches, as it was recorded, or else by a run that must pass."""
        modules = frozenset(one.module for one in listed() if test in one.tests)
        texts = [test, *((folder / "sfpo_bench" / module).read_text("utf-8") for module in sorted(modules))]
        kept = REACHED / f"{_digest([*texts, *_read_of(folder / test)])}.json"
        if not kept.exists():
            started = time.monotonic()
            code = os.waitstatus_to_exitcode(os.waitpid(_forked(folder, (test,), modules), 0)[1])
            if code:
                print((folder / _OUTPUT).read_text())
                raise SystemExit(f"{test} fails without any mutation (exit status {code}); mend that first")
            print(f"{time.monotonic() - started:6.1f} s  {test} without mutation", flush=True)
            REACHED.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / _REACHED, kept)
        return {name: Reached(**found) for name, found in json.loads(kept.read_text("utf-8")).items()}

    def _begin(self, slot: Slot, mutation: Mutation) -> None:
        for test in mutation.tests:
            if test not in self.reached:
                self.reached[test] = self._without_mutation(slot.folder, test)
        slot.mutation, slot.source = mutation, mutation.source(slot.folder)
        (slot.folder / "sfpo_bench" / mutation.module).write_text(mutation.applied(slot.source), encoding="utf-8")
        slot.started = time.monotonic()
        tests = {name: found for test in mutation.tests for name, found in self.reached[test].items()}
        slot.limit = 60 + 10 * sum(found.seconds for found in tests.values())
        order = order_of(tests, mutation.module, lines_of(slot.source, mutation.right))
        slot.process = _forked(slot.folder, mutation.tests, order, slot.limit)

    def _look(self, slot: Slot) -> None:
        mutation, spent = slot.mutation, time.monotonic() - slot.started
        ended, status, used = os.wait4(slot.process, os.WNOHANG)
        late = not ended and spent > _WAITING * slot.limit
        if mutation is None or not (ended or late):
            return
        if late:
            os.killpg(slot.process, signal.SIGKILL)
            _, _, used = os.wait4(slot.process, 0)
        verdict = "timed out" if late else _verdict(os.waitstatus_to_exitcode(status))
        (slot.folder / "sfpo_bench" / mutation.module).write_text(slot.source, encoding="utf-8")
        slot.mutation = None
        result = Result(mutation.name, self.states[mutation.name], verdict, round(used.ru_utime + used.ru_stime, 1))
        with RESULTS.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(asdict(result)) + "\n")
        print(f"{result.seconds:6.1f} s  {verdict:10}{mutation.name}", flush=True)


def _verdict(code: int) -> str:
    """Of pytest's exit status: 1 a test failed, 2 a test file could not be imported, 0 all passed."""
    return {0: "survived", 1: "killed", 2: "killed", -signal.SIGXCPU: "timed out"}.get(code, "error")


def _copy(to: Path) -> Path:
    skip = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in COPIED:
        shutil.copytree(ROOT / name, to / name, ignore=skip)
    for file in ROOT.glob("*.*"):
        if file.is_file():
            shutil.copy(file, to / file.name)
    return to


def _forked(folder: Path, tests: tuple[str, ...], told: frozenset[str] | dict[str, int], limit: float = 1e6) -> int:
    """Run test files in a process of their own, which ends after `limit` seconds of computing: to record what they
    reach of the modules told, or in the order told."""
    process = os.fork()
    if process:
        return process
    code = _WRONG_PACKAGE
    try:
        gc.enable()
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(folder)
        sys.path[0] = str(folder)
        del sys.modules["__main__"].__file__  # processes that a test starts afresh must not import this script
        with open(folder / _OUTPUT, "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        plugin = InOrder(told) if isinstance(told, dict) else Recorder(folder, told)
        options = [*_OPTIONS, f"--basetemp={folder / '.tmp'}"]
        ended = int(pytest.main([*options, *tests], plugins=[plugin]))
        if isinstance(plugin, Recorder):
            found = {name: asdict(one) for name, one in plugin.tests.items()}
            (folder / _REACHED).write_text(json.dumps(found), encoding="utf-8")
        package = str(getattr(sys.modules.get("sfpo_bench"), "__file__", folder))
        if package.startswith(str(folder)):
            code = ended
    except BaseException:
        # A mutant may end a process in any way.
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _state(mutation: Mutation) -> str:
    """What a result holds for: the module and the tests as they are."""
    return _digest([mutation.source(ROOT), *(text for test in mutation.tests for text in _read_of(ROOT / test))])


def _read_of(test: Path) -> list[str]:
    """A test file, and the tables beside it that tests read."""
    return [path.read_text(encoding="utf-8") for path in (test, *sorted(test.parent.glob("*.txt")))]


def _known() -> dict[tuple[str, str], Result]:
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    found = [Result(**json.loads(line)) for line in lines]
    return {(one.name, one.state): one for one in found if one.verdict != "error"}


def _report(chosen: list[Mutation]) -> int:
    """Print counts and survivors; returns how many were not as the list says."""
    known = _known()
    found = {one.name: known.get((one.name, _state(one))) for one in chosen}
    verdicts = {name: result.verdict if result else "error" for name, result in found.items()}
    count = Counter(verdicts.values())
    explained = [one.name for one in chosen if one.equivalent and verdicts[one.name] == "survived"]
    seconds = sum(result.seconds for result in found.values() if result)
    print(
        f"\n{len(chosen)} mutations: {sum(count[v] for v in NOTICED)} killed ({count['timed out']} of them by time), "
        f"{count['survived']} survived ({len(explained)} explained), {count['error']} errors; {seconds:.0f} CPU seconds"
    )
    unlike = 0
    for one in chosen:
        verdict = verdicts[one.name]
        as_listed = verdict == "survived" if one.equivalent else verdict in NOTICED
        unlike += not as_listed
        if verdict != "killed" or not as_listed:
            reason = f"  ## {one.equivalent}" if one.equivalent else ""
            print(f"  {verdict}{'' if as_listed or not reason else ', though explained'}  {one.name}{reason}")
    return unlike


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="mutations at a time")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="mutations whose name has one of these texts, in this order"
    )
    parser.add_argument("--again", action="store_true", help="run what has been run as well")
    asked = parser.parse_args()
    chosen = list(dict.fromkeys(one for text in asked.only for one in listed() if text in one.name))
    for one in chosen:
        one.applied(one.source(ROOT))
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.dont_write_bytecode = True  # two mutations of a second may have one size
    RESULTS.parent.mkdir(exist_ok=True)
    known = {} if asked.again else _known()
    todo = [one for one in chosen if (one.name, _state(one)) not in known]
    if todo:
        for slow_to_import in _SLOW_TO_IMPORT:
            importlib.import_module(slow_to_import)
        gc.collect()
        gc.disable()
        gc.freeze()  # a fork whose collector walks all that was imported copies its memory

        with tempfile.TemporaryDirectory(prefix="mutants-") as below:
            Runner(asked.jobs).run(todo, Path(below))
    sys.exit(1 if _report(chosen) else 0)


if __name__ == "__main__":
    main()
