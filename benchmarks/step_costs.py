"""Measures steps of several shapes and fits what a step costs (sfpo_bench/experiments/step_costs.py).

    python benchmarks/step_costs.py OUT [ROUNDS] [STEPS] [OVERRIDE ...]

Each shape is trained for STEPS steps in a process and folder of its own, all of them in turn, ROUNDS times, so that a
busy spell of the machine does not fall on one shape alone; of each shape the fastest round's median step counts, the
first step left out. On a processor only the seconds in which a step's process ran count: seconds times CPU seconds over
seconds, which is at most 1 with one thread, the default. OVERRIDEs (experiment=smollm2_addition, device=cuda …) hold
for all; by default it is the embedded experiment. Writes OUT/measured.json and OUT/costs.json, which
`sfpo-bench train … --plan=OUT/costs.json` takes, and prints how well each shape is predicted from the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sfpo_bench.core.types import StepRecord
from sfpo_bench.experiments.step_costs import MeasuredStep, StepSeconds, StepShape, fit, left_out
from sfpo_bench.models.load import shape_of
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.settings import config as configuration

# Prompts, group, token limit, fast passes (0: GRPO), mini-batches.
SHAPES = (
    (16, 8, 12, 0, 1),
    (16, 8, 12, 3, 1),
    (32, 8, 12, 0, 1),
    (32, 8, 12, 3, 2),
    (32, 8, 8, 3, 1),
    (32, 16, 12, 1, 1),
    (48, 8, 12, 2, 1),
    (64, 8, 12, 0, 2),
    (64, 8, 12, 1, 4),
    (64, 8, 12, 3, 1),
    (96, 8, 12, 1, 1),
    (128, 8, 12, 0, 1),
)
QUIET = (
    *("tracking=none", "evaluation.responses=8", "evaluation.select_responses=0", "evaluation.greedy_problems=0"),
    *(
        "training.checkpoint_every=1000000",
        "training.evaluate_every=1000000",
        "learner.learning_rate=1e-6",
        "algorithm/update_rule/trigger=none",
    ),
)


def main(out: Path, rounds: int = 3, steps: int = 12, *overrides: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    common = [*(overrides or ("threads=1",)), f"training.steps={steps}"]
    best: dict[str, MeasuredStep] = {}
    device, parameters = "", 0
    for turn in range(rounds):
        for shape in SHAPES:
            with TemporaryDirectory() as folder:
                run = RunFolder(_train(Path(folder), shape, common))
                found = measured(_name(shape), run)
                config = configuration.read(run.config)
                device = str(json.loads(run.provenance.read_text())["device"])
                parameters = shape_of(config.model).parameters
            if found.name not in best or found.seconds.in_turn < best[found.name].seconds.in_turn:
                best[found.name] = found
            print(f"round {turn + 1}  {found.name:32}  {found.seconds.in_turn:8.3f} s", flush=True)
    steps_found = list(best.values())
    content = {"device": device, "parameters": parameters, "steps": [asdict(one) for one in steps_found]}
    (out / "measured.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    fit(device, parameters, steps_found).save(out / "costs.json")
    print(f"\n{device}, {parameters:,} parameters, load {os.getloadavg()[0]:.1f}")
    print("| step | measured, s | predicted from the others / measured |\n|:--|--:|--:|")
    for name, ratio in left_out(device, parameters, steps_found).items():
        print(f"| {name} | {best[name].seconds.in_turn:.3f} | {ratio:.2f} |")


def measured(name: str, run: RunFolder) -> MeasuredStep:
    """The median step of a run's journal, its first step left out."""
    config = configuration.read(run.config)
    first, *records = [record for record in read_journal(run.journal) if isinstance(record, StepRecord)]
    rollout = config.rollouts
    on_processor = json.loads(run.provenance.read_text())["device"] == "cpu"
    before = [first, *records[:-1]]
    running = [_running(one, two) if on_processor else 1.0 for one, two in zip(before, records, strict=True)]

    def middle(key: str) -> float:
        return median(record.metrics[key] for record in records)

    def seconds(part: str) -> float:
        return median(r.metrics[f"{part}_seconds"] * share for r, share in zip(records, running, strict=True))

    shape = StepShape(
        prompts=rollout.prompts,
        group=rollout.group,
        prompt_tokens_mean=middle("prompt_tokens_mean"),
        response_tokens_mean=middle("response_tokens_mean"),
        response_tokens_max=middle("response_tokens_max"),
        side_by_side=rollout.batch_responses,
        signal_share=1 - middle("groups_without_signal_share"),
        passes=len(records[0].stages),
        optimizer_steps=sum(stage.optimizer_steps for stage in records[0].stages),
        micro_batch_tokens=config.learner.micro_batch_tokens,
    )
    parts = {part: seconds(part) for part in ("rollout", "grading", "update", "push")}
    return MeasuredStep(name, shape, StepSeconds(**parts))


def _running(before: StepRecord, record: StepRecord) -> float:
    """The share of a step's seconds in which its process ran."""
    spent, earlier = record.costs, before.costs
    return min(1.0, (spent.cpu_seconds - earlier.cpu_seconds) / (spent.train_seconds - earlier.train_seconds))


def _name(shape: tuple[int, ...]) -> str:
    prompts, group, tokens, fast, mini_batches = shape
    return f"{prompts} x {group} x {tokens}, K = {fast}, {mini_batches} mini-batch{'es' * (mini_batches > 1)}"


def _train(folder: Path, shape: tuple[int, ...], common: list[str]) -> Path:
    prompts, group, tokens, fast, mini_batches = shape
    settings = [
        "algorithm=sfpo",
        *common,
        *QUIET,
        f"output_root={folder}",
        "run_name=run",
        f"rollout.prompts={prompts}",
        f"rollout.group={group}",
        f"rollout.max_new_tokens={tokens}",
        f"algorithm.update_rule.fast_passes={fast}",
        f"learner.mini_batches={mini_batches}",
    ]
    done = subprocess.run([sys.executable, "-m", "sfpo_bench", "train", *settings], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return folder / "runs" / "run"


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[2:4]]
    main(Path(sys.argv[1]), *numbers, *sys.argv[4:])
