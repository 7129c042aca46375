"""How listing, reporting and delivering a comparison grows with its runs.

    python -m benchmarks.many_runs FOLDER [RUNS ...]

Trains one comparison of two arms, a seed each, and multiplies it: copies of both runs under other seeds, as a
comparison of RUNS runs (125, 250, 500, 1000 and 2000), each with the same journal. Of `list`, `report` and `sync` to a
new sqlite file it prints seconds, CPU seconds and the largest resident memory, and the exponent b of cost ~ runs^b.
What exists below FOLDER is not made again; an empty folder starts anew.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.learner_cost import exponent

SIZES = (125, 250, 500, 1000, 2000)
NAME, ARMS = "arithmetic", ("grpo", "sfpo")
TRAIN = (
    "compare", "tracking=none", "~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate", "comparison.seeds=1",
    "training.steps=20", "training.checkpoint_every=20", "training.keep_last=1", "evaluation.responses=256",
    "comparison.targets=[0.2]",
)  # fmt: skip
COMMANDS = {
    "list": ("list",),
    "report": ("report", f"results/{NAME}"),
    "sync": ("sync", "untracked=true"),
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What one command took."""

    seconds: float
    cpu_s: float
    memory_mb: float


def main(folder: Path, sizes: tuple[int, ...]) -> None:
    template = folder / "template"
    if not (template / "results" / NAME / "status.json").exists():
        shutil.rmtree(template, ignore_errors=True)
        template.mkdir(parents=True)
        run(template, TRAIN)
    found = {size: measure(folder / f"runs-{size}", template, size) for size in sizes}
    print("\n| runs | " + " | ".join(f"{name}, s | CPU s | memory, MB" for name in COMMANDS) + " |")
    print("|--:|" + "--:|" * 3 * len(COMMANDS))
    for size, spent in found.items():
        cells = [f"{one.seconds:.1f} | {one.cpu_s:.1f} | {one.memory_mb:.0f}" for one in spent.values()]
        print(f"| {size} | {' | '.join(cells)} |")
    if len(sizes) > 1:
        for name in COMMANDS:
            cpu, memory = (
                exponent([float(size) for size in sizes], [getattr(found[size][name], key) for size in sizes])
                for key in ("cpu_s", "memory_mb")
            )
            print(f"{name}: CPU seconds ~ runs^{cpu:.2f}, memory ~ runs^{memory:.2f}")


def measure(folder: Path, template: Path, size: int) -> dict[str, Spent]:
    """The costs of every command on a comparison of so many runs."""
    if not folder.exists():
        begun = folder.with_name(f"{folder.name}.begun")
        shutil.rmtree(begun, ignore_errors=True)
        multiply(template / "results" / NAME, begun / "results" / NAME, size // len(ARMS))
        begun.rename(folder)
    (folder / "results" / "mlflow.db").unlink(missing_ok=True)
    for left in folder.rglob("delivery.json"):
        left.unlink()
    return {name: run(folder, arguments) for name, arguments in COMMANDS.items()}


def multiply(source: Path, target: Path, seeds: int) -> None:
    """A comparison with the run of each arm in `source` under `seeds` seeds."""
    plan = json.loads((source / "comparison.json").read_text())
    for arm in ARMS:
        [run_folder] = (source / "runs" / arm).iterdir()
        for seed in range(seeds):
            copy = target / "runs" / arm / f"seed-{seed:04d}"
            # Weights are not copied: no command here writes them.
            shutil.copytree(
                run_folder, copy, copy_function=_link_weights, ignore=shutil.ignore_patterns("uid", "*.lock")
            )
            config = copy / "config.yaml"
            config.write_text(config.read_text().replace("\nseed: 0\n", f"\nseed: {seed}\n"))
    shutil.copy2(source / "status.json", target)
    (target / "comparison.json").write_text(json.dumps({**plan, "seeds": list(range(seeds))}))


def _link_weights(source: str, target: str) -> str:
    if source.endswith(".safetensors"):
        os.link(source, target)
        return target
    return str(shutil.copy2(source, target))


def run(folder: Path, arguments: tuple[str, ...]) -> Spent:
    """Run `sfpo-bench` to its end."""
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "sfpo_bench", *arguments], cwd=folder, stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if code:
        raise SystemExit(f"{' '.join(arguments)} in {folder} ended with {process.returncode}")
    return Spent(time.monotonic() - begun, _cpu(usage), usage.ru_maxrss * 1024 / 1e6)


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), tuple(map(int, sys.argv[2:])) or SIZES)
