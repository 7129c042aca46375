"""Which model is trained. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from sfpo_bench.options import option


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
    """SmolLM2-135M-Instruct: from the hub when it is reachable, else what `sfpo-bench fetch smollm2` put into the cache."""

    kind: str = option("smollm2", "name of the model source")
    cache: str = option("", "cache folder; empty: $SFPO_BENCH_CACHE, else .cache/sfpo_bench in the home folder")
