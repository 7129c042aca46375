"""One process of runs in several: python -m tests.methods.ranks_worker RANK PROCESSES FOLDER.

Every preset is trained in double precision, in FOLDER/PRESET; FOLDER/PRESET.error says why one could not be.
"""

from __future__ import annotations

import gc
import sys
import traceback
from pathlib import Path
from unittest import mock

import torch.distributed as dist

from sfpo_bench.core.stop import StopRequest
from sfpo_bench.models import load as models
from sfpo_bench.models.load import ModelSettings, Policy
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings.config import from_node
from sfpo_bench.settings.training import Precision
from sfpo_bench.training import build
from sfpo_bench.training.process_group import ProcessRanks
from sfpo_bench.training.ranks import ALONE, Ranks
from tests.methods.members import PRESETS
from tests.methods.preset_runs import composed, overrides_of
from tests.training.policies import make_norms_exact

STEPS = 3
_load = models.load


def _exact(settings: ModelSettings, precision: Precision, device: str) -> Policy:
    policy = _load(settings, precision, device)
    make_norms_exact(policy.model)
    return policy


def train(preset: str, folder: Path, ranks: Ranks) -> None:
    """Train `preset` for a few steps in `folder`, which every rank names alike."""
    more = ("learner.precision=float64", f"training.steps={STEPS}", f"output_root={folder}")
    config = from_node(composed(*overrides_of(preset, *more, "evaluation.responses=8")))
    folder.mkdir(exist_ok=True)
    with mock.patch.object(models, "load", _exact):
        build.build_trainer(config, RunFolder(folder), StopRequest(), None, ranks).run()


def main(rank: int, processes: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    for preset in PRESETS:
        try:
            train(preset, folder / preset, ProcessRanks())
        except Exception:  # whatever it is: the test that started this process shows it
            if rank == 0:
                (folder / f"{preset}.error").write_text(traceback.format_exc())
            raise
        gc.collect()
        dist.barrier()
    dist.destroy_process_group()


def alone(preset: str, folder: Path) -> None:
    """The same in this process alone."""
    train(preset, folder / preset, ALONE)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
