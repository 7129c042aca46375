"""Reads runs from W&B's offline folder: files `run-ID.wandb` of framed protocol buffers.

The records are those of `wandb.proto`, which the package W&B ships without a reader in Python.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import ConfigError, MissingDataError
from sfpo_bench.core.extras import install_extra
from sfpo_bench.importing.entries import Entry, flat, rows_with_a_step
from sfpo_bench.importing.fields import Preset
from sfpo_bench.importing.log import RunLog
from sfpo_bench.importing.naming import NamedRun, identified
from sfpo_bench.importing.reader import Given
from sfpo_bench.importing.records import whole_records
from sfpo_bench.results.run_folder import RunState
from sfpo_bench.tracking.framed_records import wandb_file_records

_MAGIC = b":W&B"


@dataclass(slots=True)
class _Found:
    """The contents of one run's files, in the order of their creation."""

    name: str = ""
    state: RunState = RunState.running
    settings: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class WandbFolder:
    """Reader for a W&B offline run or a folder of them."""

    kind = "an offline run of W&B"
    looked_for = f"a file run-ID.wandb that begins with {_MAGIC.decode()}"
    preset = Preset.own
    settings = frozenset({"step", "run_name", "arm", "seed", "cut_last_line"})
    in_folders = True

    def recognises(self, path: Path, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def runs(self, root: Path, files: Sequence[Path], given: Given) -> list[RunLog]:
        found: dict[str, _Found] = {}
        for path in files:
            _read(path, found, given.form.cut_last_line)
        return identified([_named(one, given.names.step) for one in found.values()], given.names, given.arm, given.seed)


def _named(found: _Found, step: str) -> NamedRun:
    source = " and ".join(found.sources)
    rows, notes = rows_with_a_step(found.entries, source, step)
    log = RunLog("", 0, source, rows, state=found.state, notes=(*found.notes, *notes))
    if not rows:
        raise ConfigError(f"{source} holds no logged row; expected at least one")
    return NamedRun(found.name, found.settings, log)


def _read(path: Path, runs: dict[str, _Found], cut_last_line: bool) -> None:
    """Add the file's contents to its run; a resumed run has several files."""
    try:
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError as error:
        raise MissingDataError(f"{path} is a log of W&B, which its package reads: {install_extra('wandb')}") from error
    from google.protobuf.message import DecodeError

    own, count = _Found(), 0
    notes: list[str] = []
    for number, content in enumerate(whole_records(path, wandb_file_records, cut_last_line, notes)):
        try:
            record: Any = Record.FromString(content)
        except DecodeError as error:
            raise ConfigError(f"{path}, record {number} is damaged: {error}") from error
        if record.HasField("run"):
            own = runs.setdefault(record.run.run_id, own)
            own.name = record.run.display_name or record.run.run_id
            own.settings |= flat(_values(path, number, record.run.config.update))
            own.state = RunState.running
            own.sources += [str(path)] if str(path) not in own.sources else []
        elif record.HasField("config"):
            own.settings |= flat(_values(path, number, record.config.update))
        elif record.HasField("history"):
            entry = _values(path, number, record.history.item)
            own.entries.append((f"{path}, row {count}", {"_step": record.history.step.num, **entry}))
            count += 1
        elif record.HasField("exit"):
            own.state = RunState.failed if record.exit.exit_code else RunState.finished
    if not own.sources:
        raise ConfigError(f"{path} holds no run; expected the record of one")
    own.notes += notes


def _values(path: Path, number: int, items: Sequence[Any]) -> Mapping[str, Any]:
    """Return the values of a record by name; dictionaries are flattened to `outer.inner`, as W&B shows them."""
    try:
        return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
    except ValueError as error:
        raise ConfigError(f"{path}, record {number} holds what is not JSON: {error}") from error
