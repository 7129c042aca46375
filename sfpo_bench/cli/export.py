"""`sfpo-bench export RUN`: writes a checkpoint as a Hugging Face folder that `from_pretrained` loads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.places import named_run
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ExportSettings
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.evaluation.model_card import LEFT_TO_THE_AUTHOR, model_card
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings import config as configuration
from sfpo_bench.settings.training import Which
from sfpo_bench.training.checkpoint import chosen_checkpoint

if TYPE_CHECKING:
    from torch import Tensor


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ExportSettings)
    folder = named_run(settings.run, "export")
    out = Path(settings.out) if settings.out else folder.path / f"export-{settings.checkpoint.value}"
    if out.exists():
        raise ConfigError(f"out = {out} exists already; name a folder that does not, out=FOLDER")
    checkpoint = chosen_checkpoint(folder, settings.checkpoint)
    state = checkpoint.state()
    card = model_card(folder, configuration.read(folder.config), state, settings.checkpoint)
    export(folder, checkpoint.weights(), out, {"README.md": card})
    chosen = f", accuracy {state.best_accuracy:.3f} on select" if settings.checkpoint is Which.best else ""
    say(f"wrote step {checkpoint.step}{chosen} to {out}")
    say(f"its card, {out / 'README.md'}, leaves to you: {', '.join(LEFT_TO_THE_AUTHOR)}")


def export(folder: RunFolder, weights: dict[str, Tensor], out: Path, texts: Mapping[str, str] | None = None) -> None:
    """Write the run's model with the given checkpoint weights, and its tokenizer, to `out`; `texts` are further files.

    Weights are stored in the precision that the run computed in, with LoRA adapters merged. `out` is renamed into
    place at the end, so it is either complete or absent.
    """

    from sfpo_bench.models import load as models
    from sfpo_bench.models.lora import merge_into

    config = configuration.read(folder.config)
    policy = models.load(config.model, config.learner.precision, "cpu")
    merge_into(policy.model, weights)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    policy.model.save_pretrained(partial)
    policy.tokenizer.save_pretrained(partial)
    for name, text in (texts or {}).items():
        (partial / name).write_text(text, encoding="utf-8")
    partial.rename(out)
