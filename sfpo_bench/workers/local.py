"""Runs jobs on this machine: one worker process per slot, reused for all jobs of the slot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from sfpo_bench.core.child_processes import child_environment
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.launcher import LocalLauncher
from sfpo_bench.workers.job import Job, JobEnding, JobReply
from sfpo_bench.workers.protocol import Worker


class LocalWorker:
    """Runs jobs in a worker process (`workers.worker`), which is restarted if it died."""

    def __init__(self, log: Path, environment: Mapping[str, str], processes: int) -> None:
        self._log = log
        self._environment = environment
        self._processes = processes
        self._process: _WorkerProcess | None = None

    def run(self, job: Job) -> JobReply | None:
        worker = self._process = self._process or self._started()
        request = {"function": job.function, "folder": str(job.folder), "processes": self._processes}
        try:
            worker.requests.write(json.dumps(request) + "\n")
            worker.requests.flush()
            line = worker.replies.readline()
        except (BrokenPipeError, ValueError):  # ValueError: closed by `close` in another thread
            line = ""
        if not line.endswith("\n"):
            self._process = None
            worker.wait_and_close()
            return None
        reply = json.loads(line)
        ending = JobEnding(reply["ending"])
        return JobReply(ending, reply["message"]) if ending != JobEnding.died else None

    def log_hint(self) -> str:
        with suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            written = [line.strip() for line in lines if line.strip()]
            return f"{self._log} ends with: {written[-1]}" if written else f"{self._log} is empty"
        return f"{self._log} cannot be read"

    def stop(self, *, now: bool) -> None:
        worker = self._process
        if worker is not None and now:
            worker.process.kill()
        elif worker is not None:
            worker.process.terminate()

    def close(self) -> None:
        worker, self._process = self._process, None
        if worker is not None:
            worker.wait_and_close()

    def _started(self) -> _WorkerProcess:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # Replies use a separate pipe, since libraries may print to standard output at any time.
        replies, for_worker = os.pipe()
        try:
            with open(self._log, "a", encoding="utf-8") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "sfpo_bench.workers.worker", str(for_worker)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=child_environment({**os.environ, **self._environment}),
                    text=True,
                    pass_fds=(for_worker,),
                    # Ctrl-C at the terminal must reach only the parent, which then stops its workers.
                    start_new_session=True,
                )
        finally:
            os.close(for_worker)
        return _WorkerProcess(process, os.fdopen(replies, encoding="utf-8"))


class _WorkerProcess:
    """A worker process with its pipes for requests and replies."""

    def __init__(self, process: subprocess.Popen[str], replies: IO[str]) -> None:
        assert process.stdin is not None
        self.process = process
        self.requests = process.stdin
        self.replies = replies

    def wait_and_close(self) -> None:
        """Close the worker's standard input, on which it exits, and wait for it."""
        with suppress(BrokenPipeError):  # killed before it read the last request
            self.requests.close()
        self.process.wait()
        self.replies.close()


class Local:
    """The launcher of this machine."""

    def __init__(self, settings: LocalLauncher, threads: int, log: Path, gpus: tuple[str, ...]) -> None:
        self._settings = settings
        self._threads = threads
        self._log = log
        self._gpus = gpus

    def worker(self, number: int) -> Worker:
        environment = {"OMP_NUM_THREADS": str(self._threads), "TOKENIZERS_PARALLELISM": "false"}
        mine = share(self._gpus, self._settings.gpus_per_run, number)
        if mine:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        return LocalWorker(self._log, environment, self._settings.processes_per_run)

    def close(self) -> None:
        """Do nothing: workers are closed separately."""


def share(gpus: tuple[str, ...], per_run: int, number: int) -> tuple[str, ...]:
    """Return the GPUs of slot `number`: `per_run` exclusive ones, or with 0 one shared GPU; () on a machine without."""
    if not gpus:
        return ()
    if not per_run:
        return (gpus[number % len(gpus)],)
    return gpus[number * per_run : (number + 1) * per_run]


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the GPUs in CUDA_VISIBLE_DEVICES, else those in /dev; works without importing torch."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip() not in ("", "-1"))
    found = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    # /dev lists every GPU of the machine; CUDA numbers the visible ones from 0.
    return tuple(str(index) for index in range(len(found)))


def slots_for(settings: LocalLauncher, gpus: tuple[str, ...], wanted: int) -> int:
    """Return the number of slots: `wanted`, or with 0 one per core, or as many as there are sets of GPUs.

    Raises `ConfigError` if there are too few GPUs for `wanted`, or fewer GPUs per run than processes.
    """
    processes = settings.processes_per_run
    if gpus and processes > 1 and settings.gpus_per_run != processes:
        raise ConfigError(
            f"launcher.processes_per_run = {processes} with launcher.gpus_per_run = {settings.gpus_per_run} on a "
            f"machine with {len(gpus)} GPUs; expected a GPU for each process: set launcher.gpus_per_run={processes}"
        )
    if not settings.gpus_per_run:
        return wanted or max(1, (os.cpu_count() or 1) // processes)
    fitting = len(gpus) // settings.gpus_per_run
    if not fitting or wanted > fitting:
        raise ConfigError(
            f"launcher.gpus_per_run = {settings.gpus_per_run} with {len(gpus)} GPUs and {wanted or 'any number of'} "
            f"slots; expected at most {fitting} slots: lower one of them"
        )
    return wanted or fitting
