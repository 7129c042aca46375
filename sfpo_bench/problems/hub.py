"""Rows of a Hugging Face data set, read with the `datasets` library."""

from __future__ import annotations

import importlib
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.extras import install_extra

if TYPE_CHECKING:
    from sfpo_bench.problems.card import Card, HubPlace

_SECONDS = 4.0


def hub_rows(place: HubPlace, known: Card, key: str = "data") -> Iterable[Mapping[str, Any]]:
    """The rows of the data set at its revision, from the cache of `datasets` or downloaded; no remote code runs.

    Raises `MissingDataError` when the library is missing, the hub does not respond, or it has no such data set.
    """
    remedy = f"set {key}.dir (or $SFPO_BENCH_DATA) to a folder with {known.name}.jsonl"
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingDataError(
            f"{known.title} comes from the hub, which needs the datasets library: {install_extra('hub')}; or {remedy}"
        ) from error
    # The library would retry six times, for 24 seconds, before it reports this.
    unreachable = None if _is_cached(datasets, place) else _unreachable_reason()
    if unreachable is not None:
        raise MissingDataError(f"{known.title}: {place.name} is not in the local cache and {unreachable}; {remedy}")
    try:
        found: Iterable[Mapping[str, Any]] = datasets.load_dataset(
            place.name, place.config or None, split=place.split, revision=place.revision
        )
    except Exception as error:  # the library raises its own errors, requests', huggingface_hub's and plain ones
        raise MissingDataError(
            f"{known.title}: {place.name} (revision {place.revision}) cannot be loaded from the hub "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); check name and network, or {remedy}"
        ) from error
    return found


def _is_cached(datasets: Any, place: HubPlace) -> bool:
    """True when the library's cache has some version of the set."""
    return (Path(datasets.config.HF_DATASETS_CACHE) / place.name.replace("/", "___")).is_dir()


def _unreachable_reason() -> str | None:
    """The reason why the hub cannot be reached, or None."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    question = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(question, timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        return None  # the hub responds
    except (OSError, ValueError) as error:
        return f"the hub {constants.ENDPOINT} does not answer ({getattr(error, 'reason', error)})"
    return None
