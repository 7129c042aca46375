"""`sfpo-bench fetch smollm2`: downloads a small language model into the cache for offline use."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import FetchSettings
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.models import smollm2


def act(node: DictConfig) -> None:
    settings = verb_settings(node, FetchSettings)
    if settings.name != "smollm2":
        raise ConfigError(
            f"name = {settings.name!r} cannot be fetched; expected smollm2. Others: train with model=hf model.path=NAME"
        )
    cache = Path(settings.cache) if settings.cache else smollm2.default_cache()
    say(f"SmolLM2-135M-Instruct is at {smollm2.fetch(cache, settings.source)}")
