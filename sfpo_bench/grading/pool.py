"""Processes that grade, and the deadline they are held to.

Symbolic mathematics on text that a model wrote can run for ever or fill the memory (`9^{9^{9^9}}`), and inside long
integer arithmetic no Python signal handler runs. So it happens in child processes, each of which is killed and
replaced when it does not reply in time; the alarm that a child sets for itself and the kernel answers serves where
nobody is left to kill it. The parent sets no signal handler, so any thread may ask.

A child is `python -m sfpo_bench.grading.worker`: a line of JSON in for each request, one out for each reply.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from sfpo_bench.core.child_processes import child_environment
from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading.records import Reply, Request

MEMORY_BYTES = 2 * 2**30  # address space of a child, where the system can limit it (Linux)
READY = b"ready\n"
_PROGRAM = "sfpo_bench.grading.worker"
_START_SECONDS = 600.0  # sympy from a cold disk, at the lowest priority of a busy machine
_GRACE_S = 1.0  # by which a child's own alarm comes later than the parent's
# Requests go to a child in runs of at most so many, and of so many bytes that a pipe holds them: writing never blocks.
_RUN_LENGTH = 16
_RUN_BYTES = 32_768


class Pool:
    """At most `workers` children; 0 means as many as there are cores for this process. They start when needed."""

    def __init__(self, workers: int, memory_bytes: int) -> None:
        self._workers = workers or _cores()
        self._memory_bytes = memory_bytes
        self._idle: list[_Child] = []
        self._begin()
        _POOLS.add(self)

    def _begin(self) -> None:
        self._places = threading.BoundedSemaphore(self._workers)
        self._idle = []
        self._end_at_exit = weakref.finalize(self, _end_all, self._idle)

    def forget(self) -> None:
        """After a fork the children belong to the parent, and a lock may have been held."""
        self._end_at_exit.detach()
        for child in self._idle:
            child.disown()
        self._begin()

    def ask(self, requests: Sequence[Request], deadline_s: float) -> list[Reply]:
        """One reply per request, in order; `timeout` and `error` where a child was killed or died over a request."""
        work = _Work(requests, self._workers)
        threads = [
            threading.Thread(target=self._help, args=(work, deadline_s), daemon=True)
            for _ in range(min(self._workers, len(requests) // 2) - 1)
        ]
        for thread in threads:
            thread.start()
        try:
            self._serve(work, deadline_s)
        except BaseException:  # An interrupt too must end the threads that are joined below.
            work.stop()
            raise
        finally:
            for thread in threads:
                thread.join()
        return work.replies()

    def close(self) -> None:
        """End the children that are not at work; the pool can be used again."""
        _end_all(self._idle)

    def _help(self, work: _Work, deadline_s: float) -> None:
        """Serve in a thread of its own; its errors are raised where the replies are read."""
        with contextlib.suppress(BaseException):
            self._serve(work, deadline_s)

    def _serve(self, work: _Work, deadline_s: float) -> None:
        """Take runs of requests until there are none left, with one child after another."""
        with self._places:
            child: _Child | None = None
            try:
                for places in work.runs():
                    while places:
                        child = child or self._child()
                        done = child.converse([work.requests[place] for place in places], deadline_s)
                        for place, reply in zip(list(places), done, strict=False):
                            work.put(place, reply)
                            places.remove(place)
                        if child.dead:
                            child = None
            except BaseException as error:  # Whatever ends this thread must reach the caller, who waits for it.
                work.fail(error)
                if child is not None:
                    child.kill()
                    child = None
                raise
            finally:
                if child is not None:
                    self._idle.append(child)

    def _child(self) -> _Child:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                child = self._idle.pop()
                if child.alive():
                    return child
                child.kill()
        return _Child(self._memory_bytes)


class _Work:
    """Requests that several threads take in runs, and where they put the replies."""

    def __init__(self, requests: Sequence[Request], workers: int) -> None:
        self.requests = requests
        self._replies: list[Reply | None] = [None] * len(requests)
        self._next = 0
        self._workers = workers
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def runs(self) -> Iterator[list[int]]:
        """Places of the requests to take next: long runs at first, single ones at the end, so that no one waits."""
        while True:
            with self._lock:
                left = len(self.requests) - self._next
                if not left or self._error is not None:
                    return
                length = max(1, min(_RUN_LENGTH, left // (4 * self._workers)))
                places = list(range(self._next, self._next + length))
                self._next += length
            yield places

    def put(self, place: int, reply: Reply) -> None:
        self._replies[place] = reply

    def stop(self) -> None:
        with self._lock:
            self._next = len(self.requests)

    def fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error

    def replies(self) -> list[Reply]:
        if self._error is not None:
            raise self._error
        return [reply for reply in self._replies if reply is not None]


class _Child:
    """A running process that has done its imports, so that a deadline counts work only."""

    def __init__(self, memory_bytes: int) -> None:
        command = [sys.executable, "-W", "ignore", "-m", _PROGRAM, str(memory_bytes)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=child_environment({**os.environ, "PYTHONHASHSEED": "0"}),
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN | select.POLLHUP)
        self._buffer = b""
        self.dead = False
        if self._line(time.monotonic() + _START_SECONDS) != READY:
            self.kill()
            raise RunFailed(
                f"the process that grades answers did not start within {_START_SECONDS:.0f} s (exit status "
                f"{self.process.returncode}); its last words, if any, stand above. "
                f"Expected that this works: {sys.executable} -m {_PROGRAM} {memory_bytes}"
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def converse(self, requests: Sequence[Request], deadline_s: float) -> Iterator[Reply]:
        """Yields replies until all have come or the child has died; the last one is then that of the request it died
        on."""
        lines = [json.dumps([asdict(r), deadline_s + _GRACE_S]).encode("ascii") + b"\n" for r in requests]
        while lines:
            run = [lines.pop(0)]
            while lines and sum(map(len, run)) + len(lines[0]) <= _RUN_BYTES:
                run.append(lines.pop(0))
            started = time.monotonic()
            with contextlib.suppress(BrokenPipeError):
                self._write(b"".join(run))
            for _ in run:
                line = self._line(started + deadline_s)
                started = time.monotonic()
                if not line:
                    timed_out = self.alive()
                    self.kill()
                    timed_out = timed_out or self.process.returncode == -signal.SIGALRM
                    yield Reply(GradeStatus.timeout if timed_out else GradeStatus.error)
                    return
                reply = json.loads(line)
                status = GradeStatus(reply["status"])
                if status is GradeStatus.error:
                    self.kill()
                yield Reply(status, reply["extracted"], reply["rule"])
                if self.dead:
                    return

    def kill(self) -> None:
        """At once, whatever it is doing."""
        self.dead = True
        self.process.kill()
        self.process.wait()
        self._stdin.close()
        self._stdout.close()

    def disown(self) -> None:
        """Close the pipes in a fork of the parent, so that the child still ends with the parent."""
        self._stdin.close()
        self._stdout.close()
        _DISOWNED.append(self)

    def end(self) -> None:
        """Close its input, which ends it; kill it if that does not."""
        self.dead = True
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1)
        self.kill()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._stdin.write(view) :]

    def _line(self, until: float) -> bytes:
        """The next line; empty when the child closed its output or `until` has passed."""
        while b"\n" not in self._buffer:
            left_ms = (until - time.monotonic()) * 1000
            if left_ms <= 0 or not self._poll.poll(left_ms):
                return b""
            data = os.read(self._stdout.fileno(), 65_536)
            if not data:
                # The pipe closes a moment before the process is over.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=1)
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _end_all(idle: list[_Child]) -> None:
    while idle:
        with contextlib.suppress(IndexError):
            idle.pop().end()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool.forget()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()
_DISOWNED: list[_Child] = []  # kept, for a Popen that is collected asks after a process that is not ours
os.register_at_fork(after_in_child=_forget_all)
