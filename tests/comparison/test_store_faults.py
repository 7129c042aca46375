"""A tracking store that is down, slow, full or read-only while a comparison runs: the runs end the same, one warning is
printed, and `sfpo-bench sync` completes the history."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread

import pytest

from tests.comparison.test_compare import COMPARE, curves
from tests.conftest import command
from tests.tracking.test_delivery_to_a_server import free_port, server

pytestmark = pytest.mark.slow

# The parent's delivery: passes follow each other at once, and the wait for a slow store at the end is short.
IMPATIENT = """
from sfpo_bench.tracking import feed
feed._PAUSE_SECONDS = feed._BACK_OFF_SECONDS = 0.5
feed._CLOSE_SECONDS = 12.0
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(folder, *COMPARE, "tracking=none")
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *arguments: str, inside: str = "") -> subprocess.CompletedProcess[str]:
    """`sfpo-bench` in `folder`; `inside` is a shell line run before it in a mount namespace of its own."""
    call = command(arguments, IMPATIENT)
    if inside:
        call = [*NAMESPACE, "sh", "-c", f"{inside} && exec {shlex.join(call)}"]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=900)


NAMESPACE = ["unshare", "--map-root-user", "--mount"]


@pytest.fixture
def namespaces() -> None:
    """Mounts that only one process sees: the honest way to a full or read-only disk, for root too."""
    try:
        possible = (
            subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode == 0
        )
    except OSError:
        possible = False
    if not possible:
        pytest.skip("this system lets nobody mount in a namespace of their own")


def assert_same(folder: Path, undisturbed: Path, done: subprocess.CompletedProcess[str], cause: str) -> None:
    """The comparison ended as it does without a store, with one warning that names the cause."""
    assert done.returncode == 0, done.stderr
    assert curves(folder) == curves(undisturbed)
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1, done.stderr
    assert cause in warnings[0] and "sfpo-bench sync" in warnings[0]
    assert "Traceback" not in done.stderr + done.stdout


def assert_complete(database: Path, folder: Path) -> None:
    """Every run is in the store once, ended, with every step; the comparison's run has its report."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT name, status, run_uuid FROM runs WHERE lifecycle_stage = 'active'").fetchall()
        steps = connection.execute(
            "SELECT run_uuid, count(*) FROM metrics WHERE key = 'reward_mean' GROUP BY 1"
        ).fetchall()
    names = sorted(name for name, _, _ in rows)
    assert names == ["arithmetic", *(f"{arm} seed-000{seed}" for arm in ("grpo", "sfpo") for seed in (0, 1))]
    assert {status for _, status, _ in rows} == {"FINISHED"}
    assert [count for _, count in steps] == [6] * 4
    figure = (folder / "results" / "arithmetic" / "figure.png").read_bytes()
    assert [path.read_bytes() for path in database.parent.rglob("artifacts/figure.png")] == [figure]


def complete(folder: Path, uri: str) -> None:
    """`sync` delivers what is missing, and a second one finds nothing."""
    done = run(folder, "sync", f"uri={uri}")
    assert done.returncode == 0, done.stderr
    assert "5 runs: 0 records delivered, 5 runs were complete" in run(folder, "sync", f"uri={uri}").stdout


def started(folder: Path, uri: str) -> subprocess.Popen[str]:
    """A comparison that has begun to train."""
    parent = subprocess.Popen(
        command((*COMPARE, "training.checkpoint_every=1", f"tracking.uri={uri}"), IMPATIENT),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: bool(list((folder / "results").rglob("step-000002"))), parent)
    return parent


def wait_for(condition: object, parent: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and parent.poll() is None:
        assert callable(condition)
        if condition():
            return
        time.sleep(0.05)


def ended(parent: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, errors = parent.communicate(timeout=600)
    return subprocess.CompletedProcess(parent.args, parent.returncode, out, errors)


def test_a_server_that_stops_in_the_middle(undisturbed: Path, tmp_path: Path, migrated_database: Path) -> None:
    store = copied(migrated_database, tmp_path)
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with server(store, port):
        parent = started(tmp_path, uri)
    done = ended(parent)
    assert_same(tmp_path, undisturbed, done, f"tracking store {uri} failed")
    with server(store, port):
        complete(tmp_path, uri)
    assert_complete(store / "mlflow.db", tmp_path)


def test_a_server_that_was_never_there(undisturbed: Path, tmp_path: Path, migrated_database: Path) -> None:
    store = copied(migrated_database, tmp_path)
    port = free_port()
    done = run(tmp_path, *COMPARE, f"tracking.uri=http://127.0.0.1:{port}")
    assert_same(tmp_path, undisturbed, done, "failed while")
    complete(tmp_path, f"sqlite:///{store / 'mlflow.db'}")
    assert_complete(store / "mlflow.db", tmp_path)


@pytest.mark.parametrize(
    ("seconds", "cause"), [(5.0, "it is too slow to take everything within 12 s"), (60.0, "failed while")]
)
def test_a_server_that_takes_seconds_or_a_minute_for_every_answer(
    seconds: float, cause: str, undisturbed: Path, tmp_path: Path, migrated_database: Path
) -> None:
    store = copied(migrated_database, tmp_path)
    port = free_port()
    with server(store, port):
        with proxy(port, seconds) as slow:
            done = run(tmp_path, *COMPARE, f"tracking.uri=http://127.0.0.1:{slow}")
        assert_same(tmp_path, undisturbed, done, cause)
        complete(tmp_path, f"http://127.0.0.1:{port}")
    assert_complete(store / "mlflow.db", tmp_path)
    assert train_seconds(tmp_path) < 5.0, "no step waited for the store"


@pytest.mark.parametrize("kind", ["500", "429", "half"])
def test_a_server_that_answers_every_second_request_wrongly(
    kind: str, undisturbed: Path, tmp_path: Path, migrated_database: Path
) -> None:
    """With an error, or with half of an answer to what it did: that must not be done a second time."""
    store = copied(migrated_database, tmp_path)
    port = free_port()
    with server(store, port):
        with proxy(port, spoiled=lambda number: kind if number % 2 else "") as between:
            done = run(tmp_path, *COMPARE, f"tracking.uri=http://127.0.0.1:{between}")
        assert done.returncode == 0, done.stderr
        assert curves(tmp_path) == curves(undisturbed)
        warnings = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
        assert len(warnings) <= 1 and "Traceback" not in done.stderr + done.stdout, done.stderr
        complete(tmp_path, f"http://127.0.0.1:{port}")
    assert_complete(store / "mlflow.db", tmp_path)


def test_a_database_on_a_read_only_disk(
    undisturbed: Path, tmp_path: Path, migrated_database: Path, namespaces: None
) -> None:
    store = copied(migrated_database, tmp_path)
    uri = f"sqlite:///{store / 'mlflow.db'}"
    read_only = f"mount --bind {store} {store} && mount -o remount,ro,bind {store}"
    done = run(tmp_path, *COMPARE, f"tracking.uri={uri}", inside=read_only)
    assert_same(tmp_path, undisturbed, done, "may not be written to")
    complete(tmp_path, uri)
    assert_complete(store / "mlflow.db", tmp_path)


def test_a_database_on_a_full_disk(
    undisturbed: Path, tmp_path: Path, migrated_database: Path, namespaces: None
) -> None:
    """The disk has room for a part of the history only; what arrived there is thrown away with it."""
    store = copied(migrated_database, tmp_path)
    uri = f"sqlite:///{store / 'mlflow.db'}"
    room = store.joinpath("mlflow.db").stat().st_size // 1024 + 40
    disk = tmp_path / "disk"
    full = (
        f"mkdir {disk} && mount -t tmpfs -o size={room}k tmpfs {disk} && cp {store}/mlflow.db {disk} && "
        f"mount --bind {disk} {store}"
    )
    done = run(tmp_path, *COMPARE, f"tracking.uri={uri}", inside=full)
    assert_same(tmp_path, undisturbed, done, "full")
    complete(tmp_path, uri)
    assert_complete(store / "mlflow.db", tmp_path)


def test_a_database_on_a_network_file_system_is_refused_before_anything_trains(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(f"server:/export {tmp_path} nfs4 rw 0 0\n")
    prelude = "from pathlib import Path\nfrom sfpo_bench.tracking import mounts\nmounts.MOUNTS = Path('mounts')"
    for verb in ("train", "compare"):
        done = subprocess.run(command((verb,), prelude), cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 2 and "a network file system (nfs4)" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "results").exists()


def copied(database: Path, folder: Path) -> Path:
    """A folder with an empty store of its own, outside `results`."""
    store = folder / "store"
    store.mkdir()
    shutil.copy(database, store / "mlflow.db")
    return store


def train_seconds(folder: Path) -> float:
    """The longest step of any run."""
    journals = (folder / "results").rglob("journal.jsonl")
    records = [json.loads(line) for journal in journals for line in journal.read_text().splitlines()]
    return max(float(record["metrics"]["step_seconds"]) for record in records if record["kind"] == "step")


@contextmanager
def proxy(port: int, seconds: float = 0.0, spoiled: Callable[[int], str] = lambda number: "") -> Iterator[int]:
    """Hands every request to the server at `port`, `seconds` late; yields the proxy's own port.

    `spoiled` says by the number of a request whether it is answered with an error (its status) or with half an answer.
    """
    numbers = count()

    class Between(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            time.sleep(seconds)
            kind = spoiled(next(numbers))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if kind.isdigit():
                self.send_error(int(kind))
                return
            kept = {
                name: value for name, value in self.headers.items() if name.lower() in ("content-type", "user-agent")
            }
            question = urllib.request.Request(
                f"http://127.0.0.1:{port}{self.path}", data=body or None, headers=kept, method=self.command
            )
            try:
                answer = urllib.request.urlopen(question, timeout=60)
            except urllib.error.HTTPError as error:
                answer = error
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if kind == "half" else content)
            self.close_connection = kind == "half"

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is printed."""

        def handle(self) -> None:
            with suppress(OSError):  # The client may have left.
                super().handle()

    between = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    between.daemon_threads = True
    Thread(target=between.serve_forever, daemon=True).start()
    try:
        yield between.server_address[1]
    finally:
        between.shutdown()
        between.server_close()
