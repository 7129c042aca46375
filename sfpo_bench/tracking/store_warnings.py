"""Warnings about failing stores, one line per store."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from sfpo_bench.results.redaction import redact
from sfpo_bench.tracking.mlflow_store import in_plain_words


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class StoreWarnings:
    """The warnings of one command. All its parts share this object, so that each store is reported once."""

    def __init__(self, say: Callable[[str], None] = _on_stderr) -> None:
        self._say = say
        self._said: set[str] = set()

    @property
    def tracking_failed(self) -> bool:
        """Return True if the tracking store has failed before."""
        return "tracking" in self._said

    def tracking(self, error: Exception) -> None:
        """Warn that the tracking store failed; `error` says which and how."""
        self._once("tracking", f"{error}. Work continues without it; `sfpo-bench sync` delivers what is missing")

    def sweep(self, error: Exception) -> None:
        """Warn that the database failed in which the processes of a sweep share its trials."""
        cause = redact(in_plain_words(error.__cause__ or error), os.environ)
        self._once("sweep", f"the store of the sweep does not answer: {cause}; runs continue, and it is updated later")

    def _once(self, store: str, text: str) -> None:
        if store not in self._said:
            self._said.add(store)
            self._say(f"warning: {text}")
