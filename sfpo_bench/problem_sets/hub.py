"""Rows of a data set of the Hugging Face hub, by the `datasets` library."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sfpo_bench.errors import MissingDataError

if TYPE_CHECKING:
    from sfpo_bench.problem_sets.card import Card, HubPlace

EXTRA = "pip install 'sfpo-bench[hub]'"


def hub_rows(place: HubPlace, known: Card) -> Iterable[Mapping[str, Any]]:
    """The rows of the data set at its revision, from the local cache of `datasets` or downloaded.

    Raises `MissingDataError` without the library, without an answer from the hub, and for a set that it does not have.
    """
    remedy = f"set data.dir (or $SFPO_BENCH_DATA) to a folder with {known.name}.jsonl"
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingDataError(
            f"{known.title} comes from the hub, which needs the datasets library: {EXTRA}; or {remedy}"
        ) from error
    try:
        found: Iterable[Mapping[str, Any]] = datasets.load_dataset(
            place.name, place.config or None, split=place.split, revision=place.revision, trust_remote_code=False
        )
    except Exception as error:  # the library raises its own errors, requests', huggingface_hub's and plain ones
        raise MissingDataError(
            f"{known.title}: {place.name} (revision {place.revision}) is not in the local cache and the hub does not "
            f"give it ({type(error).__name__}: {' '.join(str(error).split())[:200]}); check the network and "
            f"HF_HUB_OFFLINE, or {remedy}"
        ) from error
    return found
