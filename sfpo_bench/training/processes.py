"""How many processes train one run."""

from __future__ import annotations

from collections.abc import Mapping

from sfpo_bench.errors import ConfigError


def world_size(environ: Mapping[str, str]) -> int:
    """The number of processes that torchrun has started beside this one, itself included; 1 without torchrun."""
    return int(environ.get("WORLD_SIZE") or 1)


def require_trainable(processes: int, said_by: str) -> None:
    """Raise `ConfigError` for a number of processes that the learner cannot share a run among: any but one."""
    if processes != 1:
        raise ConfigError(
            f"{said_by}: a run in {processes} processes; expected 1, for the learner trains on one device. Start the "
            "run without torchrun and with launcher.processes_per_run=1"
        )
