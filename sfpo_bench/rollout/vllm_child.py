"""vLLM in a child process, so that the trainer can report its crashes, hangs and out-of-memory errors.

    parent -> child   ("start", Launch) ("draw", …) ("push", path) ("free_memory",)  pickled, over a pipe
    child -> parent   ("done", result) or ("failed", kind of error, message)

Weights are passed as a safetensors file in shared memory. The child exits when the pipe closes, so it never outlives
the trainer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfpo_bench.core.errors import EngineFailed, NonFiniteError
from sfpo_bench.core.types import Sampling
from sfpo_bench.rollout.vllm_backend import Draw, Drawn, Launch
from sfpo_bench.rollout.weights_file import WeightsFile

if TYPE_CHECKING:
    from torch import Tensor

_KILL_SECONDS = 10.0
_TORCHRUN = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class ChildVllm:
    """A `vllm.LLM` in a child process. `timeout_seconds` limits each answer, `start_seconds` the start."""

    def __init__(self, launch: Launch, transfer_folder: Path, start_seconds: float, timeout_seconds: float) -> None:
        self._folder = transfer_folder
        self._seconds = timeout_seconds
        context = get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(end,), name="vllm", daemon=True)
        self._process.start()
        end.close()  # the child now holds the only copy, so its exit closes the pipe
        self._ask("start", launch, seconds=start_seconds)

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process.pid is not None
        return self._process.pid

    def draw(self, draws: Sequence[Draw], sampling: Sampling, end_ids: Sequence[int]) -> list[Drawn]:
        drawn: list[Drawn] = self._ask("draw", list(draws), sampling, list(end_ids))
        return drawn

    def push(self, weights: Mapping[str, Tensor]) -> None:
        with WeightsFile(self._folder, weights) as path:
            self._ask("push", str(path))

    def free_memory(self) -> None:
        self._ask("free_memory")

    def close(self) -> None:
        self._pipe.close()
        self._process.join(_KILL_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_KILL_SECONDS)

    def _ask(self, what: str, *arguments: Any, seconds: float | None = None) -> Any:
        seconds = self._seconds if seconds is None else seconds
        try:
            self._pipe.send((what, *arguments))
            if not self._pipe.poll(seconds):
                self._process.kill()
                raise EngineFailed(
                    f"vLLM's process {self.pid} did not answer `{what}` within {seconds:g} s and was killed; look at "
                    "its messages above, or raise rollout.timeout_seconds (rollout.start_seconds for a start)"
                )
            reply = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise EngineFailed(self._exit_message(what)) from error
        if reply[0] == "failed":
            raise (NonFiniteError if reply[1] == NonFiniteError.__name__ else EngineFailed)(reply[2])
        return reply[1]

    def _exit_message(self, what: str) -> str:
        self._process.join(_KILL_SECONDS)
        code = self._process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        hint = "; 9 is what the kernel sends when memory runs out: lower rollout.kv_cache_mib" if code == -9 else ""
        return f"vLLM's process {self.pid} ended {how} while asked to `{what}`{hint}"


def _on_one_gpu(launch: Launch, environment: MutableMapping[str, str]) -> Launch:
    """The launch with one visible GPU and without torchrun's variables, changing `environment`.

    vLLM would otherwise take the trainer's ranks for its own.
    """
    for name in _TORCHRUN:
        environment.pop(name, None)
    kind, _, index = launch.device.partition(":")
    if kind != "cuda" or not index:
        return launch
    visible = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    environment["CUDA_VISIBLE_DEVICES"] = visible[int(index)] if visible else index
    return replace(launch, device=kind)


def _serve(pipe: Connection) -> None:
    """The child's main loop: answer requests until the pipe closes."""
    # Ctrl-C reaches every process of the terminal's group; only the trainer handles it.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from sfpo_bench.rollout.vllm_in_process import InProcessVllm

    engine: InProcessVllm | None = None
    while True:
        try:
            what, *arguments = pipe.recv()
        except EOFError:
            break
        try:
            result: Any = None
            if what == "start":
                engine = InProcessVllm(_on_one_gpu(arguments[0], os.environ))
            else:
                assert engine is not None
                verbs: dict[str, Callable[..., Any]] = {
                    "draw": engine.draw,
                    "push": engine.push_file,
                    "free_memory": engine.free_memory,
                }
                result = verbs[what](*arguments)
            reply: tuple[Any, ...] = ("done", result)
        except Exception as error:  # the process boundary: the parent reports it
            reply = ("failed", type(error).__name__, str(error))
        pipe.send(reply)
    os._exit(0)  # vLLM's threads must not keep the child alive
