"""The grader's interface: pairs in, grades out, in order, with a deadline for each."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sfpo_bench.core.types import Grade, GradeStatus
from sfpo_bench.grading.pool import MEMORY_BYTES, Pool
from sfpo_bench.grading.records import Pair, Question, Reply, Request

DEADLINE_S = 5.0
CACHE_SIZE = 50_000
LONGEST_RESPONSE = 100_000
_UNDECIDED = (GradeStatus.timeout, GradeStatus.error)


class Grader:
    """Grades pairs in `workers` processes of its own; 0 means one for each core this process may use.

    A grade takes `deadline_s` seconds at most, counted from the moment a process starts on it; that process may use
    `memory_bytes` of memory. Of a response longer than `LONGEST_RESPONSE` characters only the end is read. The last
    `cache_size` verdicts are kept, but no `timeout` and no `error`, which say nothing about the pair.

    Safe from any thread; no signal handler is set. The processes start when first needed and end with `close`, with
    the `with` statement, or with the program.
    """

    def __init__(
        self,
        *,
        workers: int = 0,
        deadline_s: float = DEADLINE_S,
        memory_bytes: int = MEMORY_BYTES,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        self._pool = Pool(workers, memory_bytes)
        self._deadline_s = deadline_s
        self._cache = _Cache(cache_size)

    def grade(self, gold: str, response: str, *, tolerance: float = 0.0, deadline_s: float | None = None) -> Grade:
        """One grade: reward 1 when the response's final answer equals `gold`, else 0. Raises for no text at all."""
        return self.grade_many([Pair(gold, response, tolerance)], deadline_s=deadline_s)[0]

    def grade_many(self, pairs: Iterable[Pair], *, deadline_s: float | None = None) -> list[Grade]:
        """One grade per pair, in the order of the pairs; equal pairs are graded once."""
        requests = [
            Request(
                Question.grade, pair.gold, pair.response[-LONGEST_RESPONSE:], pair.tolerance, pair.relative_tolerance
            )
            for pair in pairs
        ]
        return [
            Grade(reply.status, float(reply.status is GradeStatus.correct), reply.extracted, reply.rule)
            for reply in self._ask(requests, deadline_s)
        ]

    def equal_many(self, answers: Iterable[tuple[str, str]], *, deadline_s: float | None = None) -> list[bool]:
        """Whether the two answers of each pair are the same; both are bare answers, as grades give in `extracted`."""
        requests = [Request(Question.compare, first, second) for first, second in answers]
        return [reply.status is GradeStatus.correct for reply in self._ask(requests, deadline_s)]

    def readable_many(self, golds: Iterable[str], *, deadline_s: float | None = None) -> list[bool]:
        """Whether each gold can be read as an answer, within the deadline."""
        requests = [Request(Question.read, gold, "") for gold in golds]
        return [reply.status is GradeStatus.correct for reply in self._ask(requests, deadline_s)]

    def second_opinions(self, pairs: Iterable[Pair], *, deadline_s: float | None = None) -> list[GradeStatus]:
        """The verdict of plain math-verify on each pair, `timeout` beyond the deadline."""
        requests = [Request(Question.second, pair.gold, pair.response[-LONGEST_RESPONSE:]) for pair in pairs]
        return [reply.status for reply in self._ask(requests, deadline_s)]

    def close(self) -> None:
        """End the processes; the grader can be used again, and starts new ones then."""
        self._pool.close()

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, requests: Sequence[Request], deadline_s: float | None) -> list[Reply]:
        known: dict[Request, Reply] = {}
        missing: list[Request] = []
        for request in dict.fromkeys(requests):
            reply = self._cache.get(request)
            if reply is None:
                missing.append(request)
            else:
                known[request] = reply
        found = self._pool.ask(missing, self._deadline_s if deadline_s is None else deadline_s)
        for request, reply in zip(missing, found, strict=True):
            known[request] = reply
            if reply.status not in _UNDECIDED:
                self._cache.put(request, reply)
        return [known[request] for request in requests]


class _Cache:
    """The replies to the requests asked for last, by a digest of the request: responses are long, replies short."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._replies: OrderedDict[bytes, Reply] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, request: Request) -> Reply | None:
        if not self._size:
            return None
        with self._lock:
            reply = self._replies.get(key := _digest(request))
            if reply is not None:
                self._replies.move_to_end(key)
            return reply

    def put(self, request: Request, reply: Reply) -> None:
        with self._lock:
            self._replies[_digest(request)] = reply
            while len(self._replies) > self._size:
                self._replies.popitem(last=False)


def _digest(request: Request) -> bytes:
    fields = (request.question.value, request.gold, request.text, f"{request.tolerance} {request.relative_tolerance}")
    joined = "".join(f"{len(field)}:{field}" for field in fields)
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@cache
def shared_grader() -> Grader:
    """The one that `grade_math` uses; its processes end with the program."""
    return Grader()


def grade_math(gold: str, response: str, *, tolerance: float = 0.0, deadline_s: float = DEADLINE_S) -> Grade:
    """Reward 1 when the response's final answer equals `gold` as mathematics, else 0. Never raises for any response.

    Statuses: `no_answer` when nothing in the response can be an answer; `gold_unparsable` when the gold cannot be read
    and the answer is not the same text; `timeout` when it took longer than `deadline_s` seconds, `error` when the
    process that graded it died.
    """
    return shared_grader().grade(gold, response, tolerance=tolerance, deadline_s=deadline_s)


def answers_equal(first: str, second: str, *, deadline_s: float = DEADLINE_S) -> bool:
    """True when two bare answers are the same as mathematics, within the deadline."""
    return shared_grader().equal_many([(first, second)], deadline_s=deadline_s)[0]


def gold_is_readable(gold: str, *, deadline_s: float = DEADLINE_S) -> bool:
    """True when `gold` can be read as an answer within the deadline."""
    return shared_grader().readable_many([gold], deadline_s=deadline_s)[0]


@cache
def fingerprint() -> str:
    """Changes whenever the grader may grade otherwise: a digest of its source files and of what does the algebra."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    for package in ("python-flint",):
        digest.update(f"{package}=={version(package)}\n".encode())
    return digest.hexdigest()[:16]
