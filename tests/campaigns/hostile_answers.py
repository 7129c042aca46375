r"""Generated answers through the grader: how many hang, run code, leave a process behind, or take long.

    python -m tests.campaigns.hostile_answers STATE [--answers 100000] [--seed 0] [--block 2000]
    python -m tests.campaigns.hostile_answers STATE --show BLOCK/NUMBER

Answers come in blocks. Each block is graded by a process of its own, and a line of STATE is written when it is done:
the same command goes on after a kill, and the same seed gives the same answers. Of eight answers one has the gold in a
frame, two are other formulas of the grammar in tests/grading/generated_answers.py, one is noise, two are mutations of
responses that models and people wrote (the packed runs of notebooks/data and tests/grading/*.txt), one holds code that
would write a file or start a program where anything ran it, and one is nested, repeated or raised to powers,
also by several notations in turn.

What a grading process does beside grading is seen by an audit hook in it, compared with what it does over one plain
answer: programs started, sockets, files written or removed, code that was compiled. `--show` prints one answer again.
Times are those the caller waits, by the wall clock. The command fails if anything was found.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading import Grader, Pair
from sfpo_bench.grading.grader import DEADLINE_S, fingerprint
from tests.grading.generated_answers import NOISE, expression, response

ROOT = Path(__file__).resolve().parents[2]
MARK = "hostile_answers_ran_this"
HANG_SECONDS = 60.0
# The parent's memory may move by the allocator's own steps.
FLAT_SHARE, FLAT_BYTES = 0.05, 8 * 2**20
CODE = (
    f"__import__('os').system('touch {MARK}')",
    f"open('{MARK}', 'w').write('x')",
    f"exec(compile('open(\"{MARK}\", \"w\")', '{MARK}', 'exec'))",
    rf"\immediate\write18{{touch {MARK}}}",
    rf"\input{{|touch {MARK}}}",
    rf"\openout\x={MARK}",
    f"$(touch {MARK})",
    f"`touch {MARK}`",
    f"; touch {MARK} #",
    f"lambda: __import__('subprocess').run(['touch', '{MARK}'])",
    f"().__class__.__bases__[0].__subclasses__()  # {MARK}",
    f"{{{{ ''.__class__.__mro__ }}}} {MARK}",
    f'"], 5.0]\n[{{"question": "grade", "gold": "1", "text": "{MARK}"}}, 5.0]\n',
    f'sympify(\'__import__("os").system("touch {MARK}")\')',
    f"!!python/object/apply:os.system ['touch {MARK}']",
    f"cos\nsystem\n(S'touch {MARK}'\ntR.",
    f"<script>fetch('http://{MARK}.example')</script>",
)
GROWING = (
    ("(", "1", ")"), ("{", "1", "}"), (r"\frac{1}{", "2", "}"), (r"\sqrt{", "2", "}"), (r"\left(", "x", r"\right)"),
    ("9^{", "9", "}"), ("((", "5!", ")!)"), (r"\sum_{k=1}^{10^9} ", "k", ""), ("x^", "x", ""), ("1 \\pm ", "1", ""),
    ("-", "1", ""), ("", "1", ","), ("", "9", ""), ("", "9", "9"), ("", "x", "'"), (r"\binom{10^9}{", "5", "}"),
    (r"\begin{pmatrix}", "1", r"\end{pmatrix}"), ("and ", "1", " or "), ("|", "x", "|"), (r"\text{", "a", "}"),
    (r"\boxed{", "7", "}"), ("<think>", "7", "</think>"), ("", "7", "$"), ("#### ", "7", "\n"), ("1:", "1", ""),
)  # fmt: skip
# Notation that goes around other notation, and what it may go around.
AROUND = (
    *((before, after) for before, _, after in GROWING), (r"\frac{", "}{2}"), (r"\dfrac{3}{", r"}\text{ cm}"),
    (r"\sqrt[3]{", "}"), ("x_{", "}"), (r"\int_0^1 ", " dx"), (r"\prod_{k=1}^{3}{", "}"), (r"\binom{", "}{2}"),
    ("[", "]"), (r"\{", r"\}"), ("x=", ""), (r"\sin(", ")"), (r"\log_{", "}2"), (r"\lim_{x\to ", "}"),
    ("", r" \text{ m}"), ("2 m", ""), ("", "%"), (r"\$", ""), (r"\overline{", "}"), ("f(", ")"), ("a/", ""),
    (r"\cup ", ""), ("", r" \text{ or } 2"), (r"x \in ", ""), (r"5\frac{1}{", "}"), (r"\lfloor ", r"\rfloor "),
    (r"1 \frac{1}{2} ", ""), (r"\max(1,", ")"), ("x<", ""), (r"\neg ", ""), (r"\{x:", r"\}"),
)  # fmt: skip
CORES = ("1", "x", "k", "cm", "2 m", r"\text{m}", "5!", "a b")
TAILS = ("", "", "", "m", "{n}{3}", " m^2", "%", "!", r" \text{ cm}")
_HOOK = f"""
import os, sys
_out = os.open(os.environ["{MARK}"], os.O_WRONLY | os.O_APPEND)
_EVENTS = ("os.", "subprocess.", "socket.", "shutil.", "pty.", "urllib.", "ctypes.dlopen", "ftplib.", "webbrowser.")
_READS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.getxattr", "os.listxattr", "os.putenv", "os.unsetenv")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def _watch(event, arguments):
    if event == "open":
        found = isinstance(arguments[2], int) and arguments[2] & _WRITING
    elif event in ("compile", "exec", "import"):
        found = "{MARK}" in repr(arguments[0])
    else:
        found = event.startswith(_EVENTS) and event not in _READS
    if found and "__pycache__" not in repr(arguments):
        os.write(_out, (event + " " + repr(arguments)[:200].replace("\\n", " ") + "\\n").encode("utf-8", "replace"))

sys.addaudithook(_watch)
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes the answers: the seed, the size of a block, and the real responses that are mutated."""

    seed: int
    block: int
    real: Sequence[Pair]

    def pair(self, block: int, number: int) -> Pair:
        """The answer `number` of a block; each has its own generator, so any can be made alone."""
        draw = random.Random(f"{self.seed}/{block}/{number}")
        kind, gold = number % 8, expression(draw, 2)
        if kind == 0:
            return Pair(gold, response(draw, gold))
        if kind in (1, 2):
            return Pair(gold, response(draw, expression(draw, draw.randrange(1, 4))))
        if kind == 3:
            return Pair(gold, "".join(draw.choices(NOISE, k=draw.randrange(1, 200))))
        real = draw.choice(self.real)
        if kind in (4, 5):
            return Pair(mutated(draw, real.gold) if kind == 5 else real.gold, mutated(draw, real.response))
        made = draw.choice(CODE) if kind == 6 else grown(draw)
        if draw.random() < 0.2:
            return Pair(made, response(draw, draw.choice([gold, made])))
        text = draw.choice([real.response, response(draw, gold), ""])
        place = draw.randrange(len(text) + 1)
        return Pair(gold, draw.choice([response(draw, made), text[:place] + made + text[place:]]))

    def identity(self) -> dict[str, object]:
        """What must be the same for a command to go on with a state."""
        digest = hashlib.sha256(repr(list(self.real)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return {"seed": self.seed, "block": self.block, "real_responses": digest, "grader": fingerprint()}


@dataclass(slots=True)
class Block:
    """What grading a block gave: a line of the state."""

    block: int
    statuses: dict[str, int] = field(default_factory=dict)
    microseconds: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    timeouts: list[int] = field(default_factory=list)
    executed: int = 0
    left_processes: int = 0
    session: int = 0
    parent_bytes: int = 0


def mutated(draw: random.Random, text: str) -> str:
    """The text with one to eight parts lost, doubled, moved or replaced."""
    for _ in range(draw.randrange(1, 9)):
        first, last = sorted(draw.randrange(len(text) + 1) for _ in range(2))
        last = min(last, first + draw.choice([1, 1, 2, 5, 40]))
        part = text[first:last]
        new = draw.choice(["", part * 2, part[::-1], draw.choice(NOISE), expression(draw, 1), draw.choice(CODE)[:12]])
        text = text[:first] + new + text[last:]
    return text


def grown(draw: random.Random) -> str:
    """A piece of notation, nested or repeated up to some thousand times, closed or not; or up to three in turn."""
    if draw.random() < 0.5:
        depth, turn = draw.choice([12, 20, 30, 50, 80]), draw.choices(AROUND, k=draw.choice([1, 1, 2, 2, 3]))
        sides = [turn[place % len(turn)] for place in range(depth)]
        first = draw.choice(["", "2", "x", r"\bino"]) + "".join(before for before, _ in sides)
        return first + draw.choice(CORES) + "".join(after for _, after in reversed(sides)) + draw.choice(TAILS)
    before, core, after = draw.choice(GROWING)
    times = int(10 ** draw.uniform(0, 3.7))
    return before * times + core + after * (times if draw.random() < 0.8 else draw.randrange(times + 1))


def real_responses() -> list[Pair]:
    """Responses of the packed runs, and those that people wrote for the rules of grading."""
    found: dict[tuple[str, str], None] = {}
    for file in sorted((ROOT / "notebooks" / "data").glob("*/packed-samples.parquet")):
        with pq.ParquetFile(file, pre_buffer=False) as packed:
            table = packed.read(columns=["answer", "response"], use_threads=False)
        found.update(dict.fromkeys(zip(table["answer"].to_pylist(), table["response"].to_pylist(), strict=True)))
    for file in sorted((ROOT / "tests" / "grading").glob("rules*.txt")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line[:2] in ("= ", "! ") and " ;; " in line:
                gold, text = line[2:].split(" ;; ", 1)
                found[gold, text.replace("<NL>", "\n")] = None
    return [Pair(gold, text) for gold, text in found]


class _Hang(Exception):
    """The grader did not come back within `HANG_SECONDS`."""


def _raise_hang(*_: object) -> None:
    raise _Hang


@contextlib.contextmanager
def watched() -> Iterator[Path]:
    """A scratch folder as working directory, and a file with what grading processes do beside grading."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as name, contextlib.ExitStack() as stack:
        hook, scratch, seen = Path(name) / "hook", Path(name) / "scratch", Path(name) / "seen"
        hook.mkdir()
        scratch.mkdir()
        seen.touch()
        (hook / "sitecustomize.py").write_text(_HOOK, encoding="utf-8")
        os.environ[MARK] = str(seen)
        sys.path.insert(0, str(hook))
        stack.callback(sys.path.remove, str(hook))
        stack.callback(os.environ.pop, MARK, None)
        stack.enter_context(contextlib.chdir(scratch))
        yield seen


def grade_block(plan: Plan, number: int, size: int, usual: frozenset[str], seen: Path) -> Block:
    """Grade the answers of a block one by one in one process, which must be gone afterwards."""
    block, statuses = Block(number), Counter[str]()
    before = len(seen.read_bytes())
    with Grader(workers=1, cache_size=0) as grader:
        for place in range(size):
            pair = plan.pair(number, place)
            signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
            started = time.monotonic()
            try:
                status = grader.grade(pair.gold, pair.response).status
            except Exception as error:  # whatever it is, it is a finding, and the next answer is tried
                block.failures.append(f"{number}/{place}: {'hang' if isinstance(error, _Hang) else repr(error)[:200]}")
                continue
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            block.microseconds.append(round((time.monotonic() - started) * 1e6))
            statuses[status.value] += 1
            if status is GradeStatus.error:
                block.failures.append(f"{number}/{place}: the grading process died")
            if status is GradeStatus.timeout:
                block.timeouts.append(place)
    lines = seen.read_bytes()[before:].decode("utf-8", "replace").splitlines()
    done = [line for line in lines if _kind(line) not in usual] + [str(one) for one in Path().iterdir()]
    block.failures += [f"{number}: done beside grading: {line}" for line in done]
    block.executed, block.left_processes = len(done), len(children())
    block.statuses, block.parent_bytes = dict(statuses), resident_bytes()
    return block


def _kind(line: str) -> str:
    """An event of the hook without the numbers in it, such as those of processes and descriptors."""
    return "".join(letter for letter in line if not letter.isdigit())


def usual_events(seen: Path) -> frozenset[str]:
    """What a grading process does beside grading over one plain answer, to which blocks are compared."""
    with Grader(workers=1, cache_size=0) as grader:
        grader.grade("5", r"\boxed{5}")
    return frozenset(map(_kind, seen.read_text(encoding="utf-8").splitlines()))


def adopt_orphans() -> None:
    """Make what a dead child leaves a child of this process, where it is counted (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def children() -> list[str]:
    """The processes that this one started and did not end."""
    own = Path("/proc/self/task")
    return [child for task in own.glob("*/children") for child in task.read_text().split()]


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_state(path: Path, identity: dict[str, object]) -> list[Block]:
    """The blocks that are done; a line that a kill cut off is removed."""
    if not path.is_file():
        path.write_text(json.dumps(identity) + "\n", encoding="utf-8")
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    first, *rest = whole.decode("utf-8").splitlines() or ["{}"]
    if json.loads(first) != identity:
        sys.exit(f"{path} is of another campaign: found {first}, expected {json.dumps(identity)}; name another file")
    return [Block(**json.loads(line)) for line in rest]


def append(path: Path, block: Block) -> None:
    """Write a block's line and sync it."""
    with open(path, "a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(block)) + "\n")
        out.flush()
        os.fsync(out.fileno())


def growth(blocks: Sequence[Block]) -> tuple[float, bool]:
    """The largest growth of the parent's memory in MiB within a session after its first block, and whether flat."""
    sessions: dict[int, list[int]] = {}
    for block in blocks:
        sessions.setdefault(block.session, []).append(block.parent_bytes)
    rises = [(max(found) - found[0], found[0]) for found in sessions.values()]
    return max(rise for rise, _ in rises) / 2**20, all(
        rise <= max(FLAT_BYTES, FLAT_SHARE * start) for rise, start in rises
    )


def report(blocks: Sequence[Block]) -> bool:
    """Print what was tried and found; whether nothing was."""
    times = sorted(time for block in blocks for time in block.microseconds)
    statuses = sum((Counter(block.statuses) for block in blocks), Counter[str]())
    failures = [failure for block in blocks for failure in block.failures]
    timeouts = [f"{block.block}/{place}" for block in blocks for place in block.timeouts]
    rise, is_flat = growth(blocks)
    sessions = len({block.session for block in blocks})
    print(f"{len(times):,} answers in {len(blocks)} blocks, {sessions} sessions; {dict(statuses.most_common())}")
    print(
        f"hang {sum('hang' in one for one in failures)}, executed {sum(block.executed for block in blocks)}, ", end=""
    )
    print(f"left-over processes {sum(block.left_processes for block in blocks)}, failures {len(failures)}")
    print(f"parent's memory: at most {rise:.1f} MiB above that after a session's first block")
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    found = {name: times[min(len(times) - 1, int(share * len(times)))] / 1000 for name, share in shares.items()}
    print("time per answer: " + ", ".join(f"{name} {value:,.1f} ms" for name, value in found.items()))
    print(f"stopped at the deadline of {DEADLINE_S:.0f} s: {len(timeouts)} {' '.join(timeouts[:40])}")
    for failure in failures[:40]:
        print(f"failure {failure}")
    return not failures and is_flat and not any(block.left_processes for block in blocks)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state", type=Path)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--block", type=int, default=2000)
    parser.add_argument("--show", metavar="BLOCK/NUMBER")
    options = parser.parse_args(arguments)
    plan, state = Plan(options.seed, options.block, real_responses()), options.state.resolve()
    if options.show:
        print(plan.pair(*map(int, options.show.split("/"))))
        return
    done = read_state(state, plan.identity())
    session, known = 1 + max((block.session for block in done), default=0), {block.block for block in done}
    signal.signal(signal.SIGALRM, _raise_hang)
    adopt_orphans()
    with watched() as seen:
        usual = usual_events(seen)
        for number in range(-(-options.answers // options.block)):
            if number in known:
                continue
            block = grade_block(plan, number, min(options.block, options.answers - number * options.block), usual, seen)
            block.session = session
            append(state, block)
            done.append(block)
            print(f"block {number}: {dict(block.statuses)}, {len(block.failures)} failures", file=sys.stderr)
    sys.exit(0 if report(done) else 1)


if __name__ == "__main__":
    main()
