"""Checks whether runs can be delivered to the tracking store."""

from __future__ import annotations

import importlib
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, TrackingError
from sfpo_bench.core.tracking import TrackingSettings, TrackingStore
from sfpo_bench.doctor.findings import Finding, green, in_background, red, yellow
from sfpo_bench.doctor.storage import writable
from sfpo_bench.doctor.versions import installed_version
from sfpo_bench.results.redaction import redact
from sfpo_bench.tracking.mlflow_store import MlflowStore, resolve_tracking_uri, sqlite_path
from sfpo_bench.tracking.mounts import ELSEWHERE, network_refusal
from sfpo_bench.tracking.stores import check_store as check_can_deliver
from sfpo_bench.tracking.stores import folder_of

SERVER_SECONDS = 6.0
_SUBJECT = "store"
_OUTDATED = "out-of-date database schema"  # MLflow's own words
_WITHOUT = "tracking=none (and `sfpo-bench sync` once there is a store)"


def check_tracking(settings: TrackingSettings, output_root: Path, environ: Mapping[str, str]) -> Finding:
    """Return the finding on the tracking store of the settings. Writes nothing."""
    if settings.store is TrackingStore.mlflow:
        return check_store(settings.uri, output_root, environ)
    if not settings.delivers:
        return green(_SUBJECT, "tracking=none: runs are not delivered; the journals hold everything")
    try:
        check_can_deliver(settings, output_root, environ)
    except ConfigError as error:
        return red(_SUBJECT, str(error), f"do that, or train with {_WITHOUT}")
    folder = folder_of(settings, output_root)
    cause = writable(folder)
    if cause is None:
        return green(_SUBJECT, f"{folder}: {settings.store.value} can be written there")
    return red(_SUBJECT, f"{folder} cannot be made: {cause}", f"set folder=FOLDER to one with room, or use {_WITHOUT}")


def check_store(uri: str, output_root: Path, environ: Mapping[str, str]) -> Finding:
    """Return the finding on the configured tracking store; a server gets one request."""
    try:
        address = resolve_tracking_uri(uri or None, output_root, environ)
        path = sqlite_path(address)
    except TrackingError as error:
        return red(_SUBJECT, str(error), ELSEWHERE)
    if path is None:
        return _server(address, environ)
    refusal = network_refusal(path)
    return red(_SUBJECT, refusal, ELSEWHERE) if refusal else check_sqlite(path)


def check_sqlite(path: Path) -> Finding:
    """Return whether the database is writable, or can be created by the first run. Writes nothing."""
    if not path.is_file() or path.stat().st_size == 0:
        cause = writable(path.parent)
        if cause is None:
            return green(_SUBJECT, f"{path}: made by the first run that is delivered")
        return red(_SUBJECT, f"{path} cannot be made: {cause}", ELSEWHERE)
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=1)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("BEGIN IMMEDIATE").connection.rollback()
            outdated = _other_schema(connection)
    except sqlite3.Error as error:
        return _refused(path, str(error))
    if not os.access(path.parent, os.W_OK):
        return red(_SUBJECT, f"{path.parent} cannot be written, which sqlite needs beside the database", ELSEWHERE)
    if outdated:
        fix = f"cp '{path}' '{path}.backup' && mlflow db upgrade sqlite:///{path}"
        return red(_SUBJECT, f"{path} can be written, but {outdated}", fix)
    return green(_SUBJECT, f"{path} can be written")


def _other_schema(connection: sqlite3.Connection) -> str:
    """Return how the table version of an MLflow database differs from that of the installed MLflow.

    Empty if the versions are equal, and for a database that is not MLflow's.
    """
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return ""
    found, expected = [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")], _schema()
    if expected is None or expected in found:
        return ""
    return (
        f"its tables are of version {', '.join(found) or 'none'} and those of mlflow {installed_version('mlflow')} of "
        f"{expected}: until it is upgraded nothing can be delivered"
    )


def _schema() -> str | None:
    """Return the version of the tables that the installed MLflow creates, or None if it is unknown."""
    spec = find_spec("mlflow")
    if spec is None or spec.origin is None:
        return None
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(spec.origin).parent / "store" / "db_migrations")).get_current_head()


def _refused(path: Path, cause: str) -> Finding:
    if "locked" in cause:
        return yellow(_SUBJECT, f"{path} is being written by another process; runs wait for its lock")
    if "not a database" in cause or "malformed" in cause:
        fix = f"mv '{path}' '{path}.damaged' && sfpo-bench sync"
        return red(_SUBJECT, f"{path} is damaged or no database ({cause}); the journals hold everything", fix)
    return red(_SUBJECT, f"{path} cannot be written: {cause}", ELSEWHERE)


def _server(address: str, environ: Mapping[str, str]) -> Finding:
    shown = redact(address, environ)
    fix = f"start the server at {shown}, set MLFLOW_TRACKING_URI to one that answers, or train with {_WITHOUT}"
    try:
        importlib.import_module("mlflow")  # takes seconds that must not count as the server's
    except ImportError as error:
        return red(_SUBJECT, f"mlflow cannot be imported: {error}", "pip install mlflow")
    store = MlflowStore(address, "sfpo_bench", environ)
    store.give_up_in(SERVER_SECONDS)

    def ask() -> Finding:
        try:
            store.ask()
        except TrackingError as error:
            return red(_SUBJECT, f"{shown} cannot be used: {_innermost(str(error))}", _fix_of(str(error)) or fix)
        return green(_SUBJECT, f"{shown} answers")

    silence = red(_SUBJECT, f"{shown} does not answer within {SERVER_SECONDS:g} s", fix)
    return in_background(ask, silence, SERVER_SECONDS)()


def _fix_of(message: str) -> str:
    """Return the remedy that the store's own error names; empty if it names none."""
    if _OUTDATED not in message:
        return ""
    return "back up its database, then run `mlflow db upgrade ADDRESS_OF_THE_DATABASE` where it lies"


def _innermost(message: str) -> str:
    """Return the cause of a chain of HTTP errors: the part after the last `Caused by`."""
    cause = message.split("; expected")[0].split(" failed while ")[-1]
    if "Caused by" in cause:
        cause = cause.rpartition("Caused by")[2].rpartition(": ")[2].rstrip("\"')")
    return cause
