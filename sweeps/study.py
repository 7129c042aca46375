"""What the studies of this folder share: arms on the select problems of `experiment=arithmetic`, seed by seed.

Runs that are finished are kept, so that a study that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sfpo_bench.statistics import mean_interval

FIRST_SEED = 100  # those of the learning-rate sweep: the comparison that is reported uses others
PACKAGED_ARMS = ("grpo", "sfpo", "repeat", "grpo_sfpo_rate")


def measure(name: str, arms: Mapping[str, Sequence[str]], seeds: int, output_root: Path) -> pd.DataFrame:
    """Run what is missing and return one row per arm and seed.

    `area` is the area under accuracy over responses divided by the responses: the mean accuracy over the budget.
    `fired` is the step at whose end a trigger fired, or missing.
    """
    command = [
        sys.executable, "-m", "sfpo_bench", "compare", f"name={name}", f"output_root={output_root}", "tracking=none",
        "comparison.split=select", f"comparison.first_seed={FIRST_SEED}", f"comparison.seeds={seeds}",
        "evaluation.responses=0", "evaluation.select_responses=768", "evaluation.greedy_problems=0",
        *(f"~comparison.arms.{arm}" for arm in PACKAGED_ARMS), f"comparison.baseline={next(iter(arms))}",
        *(f"comparison.arms.{arm}.overrides=[{','.join(map(repr, overrides))}]" for arm, overrides in arms.items()),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    runs = output_root / name / "runs"
    return pd.DataFrame([row(runs, arm, FIRST_SEED + index) for arm in arms for index in range(seeds)])


def row(runs: Path, arm: str, seed: int) -> dict:
    journal = runs / arm / f"seed-{seed:04d}" / "journal.jsonl"
    records = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    steps = [record for record in records if record["kind"] == "step"]
    fired = [record["step"] for record in records if record.get("event") == "trigger_fired"]
    responses = [record["costs"]["responses"] for record in evaluations]
    accuracy = [record["accuracy"] for record in evaluations]
    return {
        "arm": arm,
        "seed": seed,
        "area": float(np.trapezoid(accuracy, responses) / (responses[-1] - responses[0])),
        "final_accuracy": accuracy[-1],
        "fired": fired[0] if fired else None,
        "optimizer_steps": steps[-1]["costs"]["optimizer_steps"],
        "cpu_seconds": steps[-1]["costs"]["cpu_seconds"],
    }


def against(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row per arm: means, and the difference of areas from the baseline with its 95 % interval (Student's t on the
    differences of equal seeds)."""
    areas = table.pivot(index="seed", columns="arm", values="area")
    rows = []
    for arm, runs in table.groupby("arm", sort=False):
        estimate = mean_interval((areas[arm] - areas[baseline]).tolist())
        rows.append(
            {
                "arm": arm,
                "mean_area": runs["area"].mean(),
                "difference": estimate.point,
                "low": estimate.interval.low if estimate.interval and arm != baseline else None,
                "high": estimate.interval.high if estimate.interval and arm != baseline else None,
                "final_accuracy": runs["final_accuracy"].mean(),
                "fired": " ".join("-" if pd.isna(step) else f"{step:.0f}" for step in runs["fired"]),
                "optimizer_steps": runs["optimizer_steps"].mean(),
                "cpu_seconds": runs["cpu_seconds"].mean(),
                "seeds": len(runs),
            }
        )
    return pd.DataFrame(rows)


def report(table: pd.DataFrame, baseline: str, script: str) -> None:
    """Write the runs beside the script as CSV and print the arms."""
    table.round(5).to_csv(Path(script).with_suffix(".csv"), index=False)
    print(against(table, baseline).round(4).to_string(index=False))
