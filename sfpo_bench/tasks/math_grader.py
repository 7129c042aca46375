"""Is a free-form mathematical answer equal to the gold answer? math-verify 0.9, kept at arm's length.

Symbolic mathematics on text that a model wrote can run for ever or fill the memory (`9^{9^{9^9}}`), and inside long
integer arithmetic no Python signal handler runs. So it happens in one child process, started on first use and kept,
which sets itself an alarm that the kernel answers by killing it. math-verify's own time limits are off: they need the
main thread and do not reach into that arithmetic. Grading works from any thread, one response at a time.

The child is this module run as a program; sympy and math-verify are imported there and nowhere else.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from sfpo_bench.errors import RunFailed
from sfpo_bench.types import Grade, GradeStatus

DEADLINE_S = 5.0
MEMORY_BYTES = 4 * 2**30  # address space of the child, where the system can limit it (Linux)
_READY = "ready"

# What may stand between two boxes of one answer, as in `\boxed{1} \text{ and } \boxed{2}`.
_BETWEEN_BOXES = re.compile(r"(?:[\s,;$&]|\\q?quad|\\[,;! ]|\\text\s*\{[^{}]*\}|\b(?:and|or)\b)*")
_BRACES = re.compile(r"\\boxed\{|\\.|[{}]", re.DOTALL)
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_ANSWER_IS = re.compile(r"\banswer(?:\s+is\b|\s*[:=])[ \t:=]*(\S[^\n]*)", re.IGNORECASE)
_DOLLAR = re.compile(r"(?<!\\)\$")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_LONGEST_BARE = 100  # characters of a response that is taken as an answer as it stands
_E_NOTATION = re.compile(r"(?<![A-Za-z0-9\\])([0-9]+(?:\.[0-9]*)?)[eE]([+-]?[0-9]+)(?![A-Za-z0-9])")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:,\\!|\\,)\s*(?=[0-9]{3}(?![0-9]))")


def grade_math(gold: str, response: str, *, deadline_s: float = DEADLINE_S) -> Grade:
    """Reward 1 when the response's final answer equals `gold` as mathematics, else 0. Never raises for any response.

    The final answer is what `final_answer` finds, else the last expression math-verify finds. An answer that is the
    gold text but for white space is correct, even where math-verify cannot read the gold; otherwise such a gold gives
    `gold_unparsable`. `timeout` means that the comparison took longer than `deadline_s` seconds, `error` that it died.
    """
    answer = final_answer(response)
    if answer is not None and _squeeze(answer) == _squeeze(gold):
        return Grade(GradeStatus.correct, 1.0, answer)
    text = _as_mathematics(response) if answer is None else _in_dollars(answer)
    reply = _CHILD.ask({"gold": _in_dollars(gold), "text": text, "marked": answer is not None}, deadline_s)
    status = GradeStatus(reply["status"])
    extracted = answer if answer is not None else reply.get("found")
    return Grade(status, 1.0 if status is GradeStatus.correct else 0.0, extracted)


def gold_is_readable(gold: str, *, deadline_s: float = DEADLINE_S) -> bool:
    """True when math-verify reads `gold` as mathematics within the deadline."""
    if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", gold):
        return True  # by far the most frequent gold; math-verify reads it
    return bool(_CHILD.ask({"gold": _in_dollars(gold)}, deadline_s)["status"] == GradeStatus.correct)


def final_answer(response: str) -> str | None:
    r"""What the response marks as its final answer; None when it marks nothing.

    In this order: the content of the last `\boxed{…}`, braces nested, joined by commas with the boxes just before it
    that only punctuation, `and` or `or` separate; the rest of the line after the last `####`; the rest of the line
    after the last `answer is` or `answer:`, unless that is prose.
    """
    boxes = _last_boxes(response)
    if boxes:
        return ", ".join(boxes)
    for pattern in (_HASHES, _ANSWER_IS):
        found = pattern.findall(response)
        if found:
            answer = str(found[-1]).lstrip("* ").rstrip("*. ")
            if answer and not _WORD.search(answer):
                return answer
    return None


def _last_boxes(text: str) -> list[str]:
    """Contents of the last box and of those that belong to it, in the order of the text."""
    boxes: list[str] = []
    limit = len(text)
    for start, end in reversed(_boxes(text)):
        after = end + 1
        if boxes and not (after <= limit and _BETWEEN_BOXES.fullmatch(text, after, limit)):
            break
        content = text[start + len("\\boxed{") : end].strip()
        if content:
            boxes.append(content)
        limit = start
    return boxes[::-1]


def _boxes(text: str) -> list[tuple[int, int]]:
    r"""Start and closing brace of each `\boxed{…}` that closes, by start; `\{` and `\}` are not braces."""
    open_braces: list[int | None] = []
    boxes: list[tuple[int, int]] = []
    for token in _BRACES.finditer(text):
        if token.group() == "}":
            start = open_braces.pop() if open_braces else None
            if start is not None:
                boxes.append((start, token.start()))
        elif token.group().endswith("{") and token.group() != "\\{":
            open_braces.append(token.start() if token.group() != "{" else None)
    return sorted(boxes)


def _squeeze(text: str) -> str:
    return "".join(text.split()).strip("$")


def _in_dollars(text: str) -> str:
    r"""`text` as LaTeX that math-verify looks into: in dollar signs unless it has some.

    What it stumbles over is written otherwise: `4.5e33`, the thousands of `29,\!322`, punctuation at the end.
    """
    text = _E_NOTATION.sub(r"\1 \\times 10^{\2}", _THOUSANDS.sub("", text).strip().rstrip(".,;"))
    return text if _DOLLAR.search(text) else f"${text}$"


def _as_mathematics(response: str) -> str:
    """A short line without words is mathematics as it stands; in anything else math-verify looks for the last."""
    line = response.strip()
    bare = line and len(line) <= _LONGEST_BARE and "\n" not in line and not _WORD.search(line)
    return _in_dollars(line) if bare else response


class _Child:
    """The process that does the symbolic work: started when first asked, started anew after it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        """The reply; `timeout` or `error` when the child died over the request."""
        with self._lock:
            process = self._process = self._process or _start_child()
            assert process.stdin is not None and process.stdout is not None
            line = ""
            try:
                print(json.dumps({**request, "deadline_s": deadline_s}), file=process.stdin, flush=True)
                line = process.stdout.readline()
            except BrokenPipeError:
                pass
            finally:  # also after Ctrl-C: a reply that was not read must not answer the next request
                if not line:
                    self._process = None
                    code = _end(process)
        if line:
            reply: dict[str, Any] = json.loads(line)
            return reply
        return {"status": GradeStatus.timeout if code == -signal.SIGALRM else GradeStatus.error}

    def stop(self) -> None:
        with self._lock:
            if self._process is not None:
                _end(self._process)
                self._process = None

    def forget(self) -> None:
        """After a fork the child belongs to the parent, and the lock may have been held."""
        self._lock = threading.Lock()
        self._process = None


def _start_child() -> subprocess.Popen[str]:
    """Running and with its imports done, so that a deadline counts work only."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    program = "sfpo_bench.tasks.math_grader"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="ascii",
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    if process.stdout.readline() != _READY + "\n":
        raise RunFailed(
            f"the process that grades answers did not start (exit status {_end(process)}); its last words stand above. "
            f"Expected that this works: {sys.executable} -m {program}"
        )
    return process


def _end(process: subprocess.Popen[str]) -> int:
    """Close the child's input, which ends it; kill it if that does not. Gives its exit status."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


_CHILD = _Child()
atexit.register(_CHILD.stop)
os.register_at_fork(after_in_child=_CHILD.forget)


@lru_cache(maxsize=64)
def _read_gold(gold: str) -> tuple[Any, ...]:
    """The gold's expressions, and its text; empty when math-verify finds no expression."""
    from math_verify import parse

    found = parse(gold, parsing_timeout=None)
    return tuple(found) if any(not isinstance(item, str) for item in found) else ()


def _compare(request: dict[str, Any]) -> dict[str, str]:
    """In the child: what to reply to a request. A request without text asks only whether the gold can be read."""
    from math_verify import parse, verify

    gold = _read_gold(request["gold"])
    if not gold:
        return {"status": GradeStatus.gold_unparsable}
    if "text" not in request:
        return {"status": GradeStatus.correct}
    found = parse(request["text"], parsing_timeout=None)
    # Text that is not mathematics is an answer only where the response says that it is.
    if not found or not (request["marked"] or any(not isinstance(item, str) for item in found)):
        return {"status": GradeStatus.no_answer}
    equal = verify(list(gold), found, timeout_seconds=None)
    return {"status": GradeStatus.correct if equal else GradeStatus.wrong, "found": str(found[-1])}


def _serve() -> None:
    """Answer requests, one JSON line each, until the input ends or an alarm kills the process."""
    import logging

    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the default is to be killed, in the middle of anything
    logging.disable(logging.CRITICAL)
    import math_verify  # noqa: F401 - before the first deadline runs

    replies, sys.stdout = sys.stdout, sys.stderr
    print(_READY, file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["deadline_s"])
        reply = _compare(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    _serve()
