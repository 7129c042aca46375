"""`sfpo-bench` in the process of the tests: what a user would see, without a second for the start of another one."""

from __future__ import annotations

import io
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from sfpo_bench.cli import main


@dataclass(frozen=True, slots=True)
class Done:
    """How a call ended. An exception that the command line does not expect is raised, not kept."""

    code: int
    out: str
    err: str


def sfpo_bench(folder: Path, *arguments: str) -> Done:
    """Run the command line in `folder`."""
    out, err = io.StringIO(), io.StringIO()
    before, environment = list(sys.argv), dict(os.environ)
    code = 0
    try:
        with chdir(folder), redirect_stdout(out), redirect_stderr(err):
            try:
                main(list(arguments))
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.argv = before
        os.environ.clear()
        os.environ.update(environment)
    return Done(code, out.getvalue(), err.getvalue())
