"""`sfpo-bench extrapolate RUN to_step=N`: predicts the weights of a later step from kept checkpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from sfpo_bench.cli.export import export
from sfpo_bench.cli.hydra_store import verb_settings
from sfpo_bench.cli.places import named_run
from sfpo_bench.cli.progress import say
from sfpo_bench.cli.settings import ExtrapolateSettings
from sfpo_bench.core.errors import CheckpointError, ConfigError
from sfpo_bench.models.extrapolation import extrapolated
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.training.checkpoint import Checkpoint, CheckpointStore


def act(node: DictConfig) -> None:
    settings = verb_settings(node, ExtrapolateSettings)
    folder = named_run(settings.run, "extrapolate")
    default = folder.path / f"extrapolated-{settings.method.value}-{settings.to_step:06d}"
    out = Path(settings.out) if settings.out else default
    if out.exists():
        raise ConfigError(f"out = {out} exists already; name a folder that does not, out=FOLDER")
    used = _used(folder, settings)
    steps, last = [checkpoint.step for checkpoint in used], used[-1]
    if settings.to_step <= last.step:
        raise ConfigError(
            f"to_step = {settings.to_step} is not after step {last.step}, the last checkpoint used; expected a "
            "later step, or use only earlier checkpoints: last_step=STEP"
        )
    weights = last.weights()
    for name in weights:  # one tensor at a time, to limit memory
        each = [checkpoint.weights([name])[name] for checkpoint in used]
        weights[name] = extrapolated(settings.method, steps, each, settings.to_step)
    export(folder, weights, out)
    made = {"run": str(folder.path), "method": settings.method.value, "from_steps": steps, "to_step": settings.to_step}
    (out / "extrapolation.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    say(
        f"wrote step {settings.to_step} to {out}: {settings.method.value}, from the checkpoints of steps "
        f"{', '.join(map(str, steps))}; evaluate it with `sfpo-bench evaluate model=hf model.path={out}`"
    )


def _used(folder: RunFolder, settings: ExtrapolateSettings) -> Sequence[Checkpoint]:
    """Return the checkpoints to extrapolate from, oldest first; raise `CheckpointError` if there are too few."""
    kept = CheckpointStore(folder.checkpoints).all()
    last = settings.last_step or max((checkpoint.step for checkpoint in kept), default=0)
    used = [checkpoint for checkpoint in kept if settings.first_step <= checkpoint.step <= last]
    fewest = settings.method.fewest
    if len(used) < fewest:
        there = ", ".join(str(checkpoint.step) for checkpoint in kept) or "none"
        raise CheckpointError(
            f"{folder.path} has {len(used)} checkpoints of steps {settings.first_step} to {last}, expected at least "
            f"{fewest} for {settings.method.value} (kept: steps {there}); train with "
            "training.keep_every=N, which keeps the weights of every N-th step, or choose others with first_step and "
            "last_step"
        )
    return [used[0], used[-1]] if fewest == 2 else used
