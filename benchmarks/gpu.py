"""One GPU: throughput, where the time goes, how busy it is, how much memory it takes; arithmetic and SmolLM2.

    python benchmarks/gpu.py OUT [STEPS] [DEVICE]

Trains STEPS (12) steps of each setting in a process of its own and writes OUT/gpu.json and OUT/gpu.md; the first two
steps are left out of times. Utilisation and memory are what nvidia-smi reports, asked twice a second: the mean over the
process's life, and the most, other programs on the GPU included. DEVICE=cpu runs the same on the processor, to try the
script out; busy is then CPU seconds over seconds, and memory the process's own. Without a GPU it says so and ends.
SmolLM2 is left out where `sfpo-bench fetch smollm2` has not been run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.types import StepRecord
from sfpo_bench.models.load import locate
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings.models import SmolLM2Model

SETTINGS: dict[str, tuple[str, ...]] = {
    "arithmetic, GRPO": ("algorithm=grpo",),
    "arithmetic, SFPO": ("algorithm=sfpo", "algorithm/update_rule/trigger=none"),
    "SmolLM2, GRPO": ("experiment=smollm2_addition", "algorithm=grpo"),
    "SmolLM2, SFPO": ("experiment=smollm2_addition", "algorithm=sfpo", "algorithm/update_rule/trigger=none"),
    "SmolLM2, GRPO, 64 prompts": ("experiment=smollm2_addition", "algorithm=grpo", "rollout.prompts=64"),
}
QUIET = ("tracking=none", "evaluation.responses=8", "evaluation.select_responses=0", "evaluation.greedy_problems=0")
PARTS = ("rollout", "grading", "update", "push")


@dataclass(frozen=True, slots=True)
class Measured:
    """One setting: medians over its steps; shares of the step's seconds by part."""

    name: str
    step_seconds: float
    responses_per_second: float
    generated_tokens_per_second: float
    shares: dict[str, float]
    utilisation_mean: float
    memory_max_gb: float


def main(out: Path, steps: int = 12, device: str = "cuda") -> None:
    if device != "cpu" and shutil.which("nvidia-smi") is None:
        raise SystemExit("no GPU here: nvidia-smi is not found; DEVICE=cpu tries the script out on the processor")
    out.mkdir(parents=True, exist_ok=True)
    found = [measure(name, settings, steps, device) for name, settings in SETTINGS.items() if _is_here(name)]
    name = device if device == "cpu" else _ask("name")[0]
    (out / "gpu.json").write_text(
        json.dumps({"device": name, "settings": [asdict(one) for one in found]}, indent=1) + "\n", encoding="utf-8"
    )
    table = "\n".join([f"{name}, {steps} steps each, load {os.getloadavg()[0]:.1f}", "", *rows(found)])
    (out / "gpu.md").write_text(table + "\n", encoding="utf-8")
    print(table)


def measure(name: str, settings: tuple[str, ...], steps: int, device: str) -> Measured:
    """Train and read what the journal and the watch say."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sfpo_bench", "train", *settings, *QUIET, f"device={device}"]
        command += [f"training.steps={steps}", f"output_root={folder}", "run_name=run"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            watch = Watch(process.pid, device)
            _, said = process.communicate()
            watch.stop()
        if process.returncode:
            raise SystemExit(f"{name}: {said[-3000:]}")
        journal = read_journal(RunFolder(Path(folder) / "runs" / "run").journal)
    records = [record for record in journal if isinstance(record, StepRecord)]
    return summary(name, records, watch)


def summary(name: str, records: list[StepRecord], watch: Watch) -> Measured:
    """Medians over all steps but the first two."""
    first, counted = records[1], records[2:]

    def middle(key: str) -> float:
        return median(record.metrics[key] for record in counted)

    last = counted[-1].costs
    seconds = last.train_seconds - first.costs.train_seconds
    busy = (last.cpu_seconds - first.costs.cpu_seconds) / seconds
    return Measured(
        name=name,
        step_seconds=middle("step_seconds"),
        responses_per_second=(last.responses - first.costs.responses) / seconds,
        generated_tokens_per_second=(last.tokens - first.costs.tokens) / seconds,
        shares={part: middle(f"{part}_seconds") / middle("step_seconds") for part in PARTS},
        utilisation_mean=fmean(watch.utilisation) if watch.utilisation else busy,
        memory_max_gb=watch.memory_max_gb,
    )


def rows(found: list[Measured]) -> list[str]:
    """The table in Markdown."""
    head = ["| | step, s | responses/s | tokens/s | rollout | grading | update | push | busy | memory, GB |"]
    return [*head, "|:--|" + "--:|" * 9] + [
        f"| {one.name} | {one.step_seconds:.3f} | {one.responses_per_second:.1f} "
        f"| {one.generated_tokens_per_second:.0f} | {' | '.join(f'{one.shares[part]:.0%}' for part in PARTS)} "
        f"| {one.utilisation_mean:.0%} | {one.memory_max_gb:.2f} |"
        for one in found
    ]


class Watch:
    """Asks twice a second how busy the GPU is and how much memory is taken, in a thread, until `stop`."""

    def __init__(self, pid: int, device: str) -> None:
        self.utilisation: list[float] = []
        self.memory_max_gb = 0.0
        self._pid = pid
        self._on_gpu = device != "cpu"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.5):
            memory = self._gpu() if self._on_gpu else self._process()
            self.memory_max_gb = max(self.memory_max_gb, memory)

    def _gpu(self) -> float:
        utilisation, memory = _ask("utilization.gpu,memory.used")[0].split(",")
        self.utilisation.append(float(utilisation) / 100)
        return float(memory) * 2**20 / 1e9

    def _process(self) -> float:
        try:
            status = Path(f"/proc/{self._pid}/status").read_text(encoding="utf-8")
        except OSError:
            return 0.0  # It has just ended.
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        return float(found[0]) * 1024 / 1e9 if found else 0.0


def _ask(what: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()


def _is_here(name: str) -> bool:
    if not name.startswith("SmolLM2"):
        return True
    try:
        locate(SmolLM2Model())
    except MissingDataError as error:
        print(f"{name} left out: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12, sys.argv[3] if len(sys.argv) > 3 else "cuda")
