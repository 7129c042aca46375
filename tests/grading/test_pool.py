"""Whatever a model writes is answered in time, in order, in little memory, and nothing in it is executed."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading import Grader, Pair, grade_math
from sfpo_bench.grading.pool import Pool
from sfpo_bench.grading.records import Question, Request

# What math-verify does not finish: deadlines are tried on its second opinions, as every verdict of ours has an end. It
# is a whole number, because the time of an integral depends on the seed of Python's hashes.
ENDLESS = r"\boxed{7^{9^{9}}}"
RIGHT, WRONG = Pair("5", r"\boxed{5.0}"), Pair("5", r"\boxed{6}")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Grader]:
    with Grader(workers=2, deadline_s=6.0, cache_size=0) as grader:
        yield grader


@pytest.fixture
def quick(two_workers: Grader) -> Grader:
    """Both of its processes are running and idle."""
    while len(children(two_workers)) < 2:
        two_workers.grade_many([Pair(str(n), "5") for n in range(16)])
    return two_workers


def children(grader: Grader) -> list[int]:
    return [child.process.pid for child in grader._pool._idle]


def test_an_endless_grade_is_a_timeout_and_everything_else_keeps_its_verdict_and_place(quick: Grader) -> None:
    pairs = [RIGHT, WRONG, Pair("5", ENDLESS), RIGHT, Pair("7", ENDLESS), WRONG, RIGHT, RIGHT, WRONG]
    expected = ["correct", "wrong", "timeout", "correct", "timeout", "wrong", "correct", "correct", "wrong"]
    assert [status.value for status in quick.second_opinions(pairs)] == expected


def test_the_deadline_counts_from_the_start_of_an_item_and_ends_it(quick: Grader) -> None:
    started = time.monotonic()
    # Distinct ones, as equal pairs are graded once. Four in a row would need longer than one deadline.
    assert quick.second_opinions([Pair(str(n), ENDLESS) for n in range(4)]) == [GradeStatus.timeout] * 4
    assert time.monotonic() - started < 30  # two processes, two deadlines each, and their replacement on a busy machine


def test_a_process_over_its_deadline_is_killed_and_replaced(quick: Grader) -> None:
    before = children(quick)
    assert quick.second_opinions([Pair("5", ENDLESS)]) == [GradeStatus.timeout]
    gone = [pid for pid in before if pid not in children(quick)]
    assert len(gone) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(gone[0], 0)
    assert quick.grade("5", r"\boxed{5}").status is GradeStatus.correct


def test_an_idle_process_that_was_killed_costs_no_verdict(quick: Grader) -> None:
    for pid in children(quick):
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    assert [grade.status.value for grade in quick.grade_many([RIGHT, WRONG])] == ["correct", "wrong"]


def test_a_process_killed_at_work_is_an_error_and_the_next_grade_is_right(quick: Grader) -> None:
    found: list[GradeStatus] = []
    slow = Grader(workers=1, deadline_s=60, cache_size=0)
    with slow:
        slow.grade("5", "5")
        [pid] = children(slow)
        thread = threading.Thread(target=lambda: found.extend(slow.second_opinions([Pair("5", ENDLESS)])))
        thread.start()
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
        thread.join(timeout=30)
        assert found == [GradeStatus.error]
        assert slow.grade("5", r"\boxed{5}").status is GradeStatus.correct


def test_a_child_left_alone_with_an_endless_request_is_ended_by_the_kernel() -> None:
    """Its own alarm, for a parent that was killed: the process here is asked and then not waited for."""
    pool = Pool(1, 2**31)
    pool.ask([Request(Question.compare, "1", "2")], 5.0)
    [child] = pool._idle
    replies = child.converse([Request(Question.second, "5", ENDLESS)], 0.2)
    line = child._line
    child._line = lambda until: b""  # type: ignore[method-assign]  # a worker that says nothing
    kill = child.kill
    child.kill = lambda: None  # type: ignore[method-assign]  # a kill that comes late
    next(replies)
    child._line, child.kill = line, kill  # type: ignore[method-assign]  # as they were
    assert child.process.wait(timeout=20) == -signal.SIGALRM
    pool.close()


def test_too_much_memory_is_an_error_of_that_item_alone() -> None:
    with Grader(workers=1, deadline_s=20, memory_bytes=2**29, cache_size=0) as grader:
        hungry = Pair("5", r"\boxed{\begin{pmatrix}" + r"1 & 2 \\ " * 150 + r"\end{pmatrix}^{99999999}}")
        grades = grader.grade_many([RIGHT, hungry, WRONG])
        assert [grades[0].status.value, grades[2].status.value] == ["correct", "wrong"]
        assert grades[1].status is not GradeStatus.correct


def test_threads_grade_side_by_side_without_a_signal_handler(quick: Grader) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM)]
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        pairs = [Pair(str(number), rf"\boxed{{{n}.0}}") for n in range(6)]
        found[number] = [grade.status.value for grade in quick.grade_many(pairs)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == {number: ["correct" if n == number else "wrong" for n in range(6)] for number in range(6)}
    assert handlers == [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM)]


def _grade_in_a_fork(grader: Grader, results: multiprocessing.SimpleQueue[str]) -> None:
    results.put(grader.grade("5", r"\boxed{5.0}").status.value)
    grader.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_processes_of_its_own_and_leaves_those_of_its_parent(quick: Grader) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    mine = children(quick)
    process = context.Process(target=_grade_in_a_fork, args=(quick, results))
    process.start()
    process.join(timeout=60)
    assert results.get() == "correct"
    assert [grade.status.value for grade in quick.grade_many([RIGHT, WRONG])] == ["correct", "wrong"]
    assert sorted(children(quick)) == sorted(mine)


def test_what_was_left_unread_after_an_interrupt_does_not_answer_the_next(
    quick: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(until: float) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(quick._pool._idle[-1], "_line", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick.grade("5", r"\boxed{5.0}")
    assert quick.grade("5", r"\boxed{6.0}").status is GradeStatus.wrong


HOSTILE = {
    "tower": r"\boxed{9^{9^{9^9}}}",
    "python tower": "9**9**9**9",
    "python tower marked": "The answer is 9**9**9**9",
    "power of a sum": r"\boxed{(x+1)^{100000}}",
    "power of 99999999": r"\boxed{(x+y)^{99999999}}",
    "factorials": r"\boxed{99999999!!!}",
    "binomial": r"\boxed{\binom{10^9}{5\cdot 10^8}}",
    "sum": r"\boxed{\sum_{k=1}^{10^9} \frac{1}{k^k+1}}",
    "product": r"\boxed{\prod_{k=1}^{10^7} (k+x)}",
    "limit": r"\boxed{\lim_{n\to\infty} (\sum_{k=1}^n \frac{1}{k}-\ln n)^{n}}",
    "roots": r"\boxed{" + r"\sqrt{" * 300 + "2" + "}" * 300 + "}",
    "boxes": r"\boxed{" * 20_000,
    "brackets": "(" * 20_000,
    "closed brackets": r"\boxed{" + "(" * 5000 + "1" + ")" * 5000 + "}",
    "fractions": r"\frac{" * 3000,
    "digits": "9" * 100_000,
    "boxed digits": r"\boxed{" + "9" * 100_000 + "}",
    "long sum": r"\boxed{" + "+".join(f"x_{{{n}}}" for n in range(300)) + "}",
    "long list": r"\boxed{" + ",".join(f"x+{n}" for n in range(300)) + "}",
    "surrogate": "\ud800",
    "boxed surrogate": "\\boxed{\ud800 4}",
    "NUL": "\x00\\boxed{\x004}",
    "controls": "".join(map(chr, range(32))) + r"\boxed{4}",
    "dollars": "$" * 9999,
    "commas": r"\boxed{" + "," * 1500 + "}",
    "signs": r"\boxed{" + r"\pm 1" * 200 + "}",
    "equals": r"\boxed{" + "x=" * 500 + "}",
    "spaces": " " * 200_000 + "4",
    "regular expression": "a" * 50_000 + "!" + "answer " * 5000,
    "ten megabytes": "no " * 3_400_000,
    "ten megabytes boxed": r"\boxed{" + "1+" * 5_000_000 + "1}",
    "right to left": "\u202e\\boxed{4}",
    "not UTF-8": b"\\boxed{\xff\xfe4}".decode("utf-8", "surrogateescape"),
}


@pytest.mark.parametrize("response", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_response_is_not_correct_and_answered_within_the_deadline(response: str, grader: Grader) -> None:
    grader.grade("5", "5")
    started = time.monotonic()
    grade = grader.grade("5", response, deadline_s=2.0)
    assert time.monotonic() - started < 2.0 + 1.0, "the deadline, and what a busy machine adds"
    assert (grade.status is GradeStatus.correct, grade.reward) == (False, 0.0)
    assert len(grade.extracted or "") <= 500
    (grade.extracted or "").encode("utf-8")


@pytest.mark.parametrize("gold", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_gold_is_answered_too(gold: str, grader: Grader) -> None:
    assert grader.grade(gold[-LONGEST_GOLD:], r"\boxed{5}", deadline_s=2.0).status is not GradeStatus.correct


LONGEST_GOLD = 20_000


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').system('touch {file}')",
        r"\boxed{{__import__('os').system('touch {file}')}}",
        r"\boxed{{open('{file}', 'w')}}",
        r"$\text{{exec}}(open('{file}','w'))$",
        r"\boxed{{\input{{{file}}}}}",
        r"\immediate\write18{{touch {file}}}",
        "The answer is eval(\"open('{file}','w')\")",
        "#### (lambda: open('{file}', 'w'))()",
    ],
)
def test_code_in_an_answer_or_a_gold_is_not_executed(code: str, tmp_path: Path, grader: Grader) -> None:
    file = tmp_path / "executed"
    text = code.format(file=file)
    grader.grade_many([Pair("5", text), Pair(text, r"\boxed{5}"), Pair(text, rf"\boxed{{{text} }}")])
    assert not file.exists()


def test_the_memory_of_the_parent_stays_flat_over_responses_of_ten_megabytes() -> None:
    with Grader(workers=1, deadline_s=5) as grader:
        big = r"\boxed{" + "1+" * 5_000_000 + "1}"
        for n in range(3):
            grader.grade("5", f"{n}{big}")
        before = resident_bytes()
        for n in range(30):
            grader.grade("5", f"{n}{big}")
        assert resident_bytes() - before < 30 * 2**20


def resident_bytes() -> int:
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("reads /proc")
    return int(status.read_text().split()[1]) * resource.getpagesize()


def test_pairs_met_before_come_from_the_cache_and_a_timeout_is_tried_again() -> None:
    with Grader(workers=1, deadline_s=0.5) as grader:
        first = grader.grade_many([RIGHT, WRONG])
        grader._pool.ask = lambda requests, deadline_s: []  # type: ignore[method-assign]  # no second answer
        assert grader.grade_many([WRONG, RIGHT, RIGHT]) == [first[1], first[0], first[0]]
        del grader._pool.ask
        for _ in range(2):
            assert grader.second_opinions([Pair("5", ENDLESS)]) == [GradeStatus.timeout]
            assert children(grader) == []


def test_grading_works_off_the_main_thread() -> None:
    found: list[GradeStatus] = []
    thread = threading.Thread(target=lambda: found.append(grade_math("5", r"\boxed{5.0}").status))
    thread.start()
    thread.join(timeout=60)
    assert found == [GradeStatus.correct]
