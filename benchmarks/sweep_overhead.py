"""What a trial of a sweep costs the sweep's own process, beyond the run that it stands for.

    python -m benchmarks.sweep_overhead

Sixty trials of `sweeps/k_alpha_lr.yaml` with TPE, ten reports each, and nothing trained. Prints mean wall and CPU
seconds per trial, the latter with those of child processes (git, for the provenance of a run). On a busy machine only
the CPU seconds say anything.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.resources import carried
from sfpo_bench.experiments.sweep.plan import PreparedSweep, composer, plan_of
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.results.sweep import SweepFolder, TrialsRecord
from sfpo_bench.search.pruners import pruner_of
from sfpo_bench.search.samplers import sampler_of
from sfpo_bench.search.storage import open_storage
from sfpo_bench.search.study import SharedStudy
from sfpo_bench.settings.config import from_node
from sfpo_bench.training.run import plain_node, prepare

NAME, TRIALS, RUNGS = "k_alpha_lr", 60, 10


class Clock:
    """Wall and CPU seconds by what they were spent on."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        yield
        self.wall[what] += time.perf_counter() - wall
        self.cpu[what] += sum(os.times()[:4]) - cpu


def main() -> None:
    register()
    path = ["hydra.searchpath=[pkg://sfpo_bench.conf]"]
    with initialize_config_dir(str(carried("sweeps")), **VERSION_BASE), tempfile.TemporaryDirectory() as folder:
        config = from_node(plain_node(compose(NAME, path), {"comparison": {}}))
        clock = run(plan_of(config, composer(NAME, path)), Path(folder))
    print(f"{'seconds per trial':18} {'wall':>7} {'CPU':>7}")
    for what in clock.wall:
        print(f"{what:18} {clock.wall[what] / TRIALS:7.3f} {clock.cpu[what] / TRIALS:7.3f}")
    wall, cpu = sum(clock.wall.values()), sum(clock.cpu.values())
    print(f"{'together':18} {wall / TRIALS:7.3f} {cpu / TRIALS:7.3f}")


def run(plan: PreparedSweep, folder: Path) -> Clock:
    clock, settings = Clock(), plan.settings
    sampler = sampler_of(settings.sampler, settings.sampler_seed, settings.startup_trials)
    study = SharedStudy(folder, NAME, open_storage("", folder), [False], sampler, pruner_of(settings), 30.0)
    for number in range(TRIALS):
        with clock("take"):
            held = study.take(plan.space_of, TRIALS)
        assert held is not None
        with clock("compose"):
            node = plan.node(held.point)
        with clock("prepare"):
            prepare(RunFolder(folder / f"run-{number}"), node, "cpu")
        with clock("report"):
            for rung in range(1, RUNGS + 1):
                held.report(rung, float(held.point["alpha"]) + 0.01 * rung)
        with clock("tell"):
            study.complete(held, [float(held.point["alpha"])], censored=False)
            seen = TrialsRecord(tuple(view.plain() for view in study.views()))
            SweepFolder(folder).write_trials(seen)
    return clock


if __name__ == "__main__":
    main()
