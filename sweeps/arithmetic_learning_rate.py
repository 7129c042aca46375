"""Chooses the learning rates of `experiment=arithmetic`: the same grid, budget and seeds for every method.

    python sweeps/arithmetic_learning_rate.py [OUTPUT_ROOT]
    python sweeps/arithmetic_learning_rate.py --figure      draws docs/figures/arithmetic_learning_rate.png

Criterion: the highest mean area under sampled accuracy over training responses, on select problems (never those that
the comparison reports) and on seeds that the comparison does not use. A best rate at the edge of its grid extends the
grid by one factor of two, and so on. Writes arithmetic_learning_rate.csv beside this file: every rate that was tried.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from sfpo_bench.reports.sweep.learning_rate import learning_rate_bytes, read_sweep

METHODS = {
    "grpo": ["algorithm=grpo"],
    "sfpo": ["algorithm=sfpo", "algorithm/update_rule/trigger=none"],
    "repeat": ["algorithm=repeat"],
}
NAME = "arithmetic_learning_rate"
STEP = 2.0
FIRST_SEED, SEEDS = 100, 5


def main(output_root: Path) -> None:
    rates = {method: [1e-4, 2e-4, 4e-4, 8e-4] for method in METHODS}
    while True:
        table = measure(rates, output_root)
        further = {method: beyond(table, method, rates[method]) for method in METHODS}
        if not any(further.values()):
            break
        rates = {method: sorted({*rates[method], *further[method]}) for method in METHODS}
    table.to_csv(Path(__file__).with_suffix(".csv"), index=False)
    print(table.to_string(index=False))


def measure(rates: dict[str, list[float]], output_root: Path) -> pd.DataFrame:
    """Run what is missing (finished runs are kept) and return one row per method and rate, best first."""
    arms = [arm(method, rate) for method in METHODS for rate in rates[method]]
    command = [
        sys.executable, "-m", "sfpo_bench", "compare", f"name={NAME}", f"output_root={output_root}", "tracking=none",
        "comparison.split=select", f"comparison.first_seed={FIRST_SEED}", f"comparison.seeds={SEEDS}",
        "evaluation.responses=0", "evaluation.select_responses=768", "evaluation.greedy_problems=0",
        "~comparison.arms.grpo", "~comparison.arms.sfpo", "~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate",
        f"comparison.baseline={key(*next((m, r[0]) for m, r in rates.items()))}", *arms,
    ]  # fmt: skip
    subprocess.run(command, check=True)
    summary = json.loads((output_root / NAME / "summary.json").read_text(encoding="utf-8"))
    return pd.DataFrame([row(arm) for arm in summary["arms"]]).sort_values(
        ["method", "mean_area"], ascending=[True, False]
    )


def key(method: str, rate: float) -> str:
    return f"{method}_{rate:g}".replace(".", "p").replace("-", "m")


def arm(method: str, rate: float) -> str:
    """One arm in Hydra's notation; an override inside a list is quoted because of its `=`."""
    overrides = [*METHODS[method], f"learner.learning_rate={rate:g}"]
    return f"comparison.arms.{key(method, rate)}.overrides=[{','.join(repr(override) for override in overrides)}]"


def row(arm: dict) -> dict:
    """Mean area under accuracy over responses, divided by the responses: the mean accuracy over the budget."""
    areas = [area(curve["points"]) for curve in arm["curves"]]
    finals = [curve["points"][-1]["accuracy"] for curve in arm["curves"]]
    return {
        "method": arm["settings"]["algorithm.name"],
        "learning_rate": arm["settings"]["learner.learning_rate"],
        "mean_area": float(np.mean(areas)),
        "standard_error": float(np.std(areas, ddof=1) / np.sqrt(len(areas))),
        "final_accuracy": float(np.mean(finals)),
        "seeds": len(areas),
        "responses": arm["curves"][0]["points"][-1]["responses"],
    }


def area(points: list[dict]) -> float:
    responses = [point["responses"] for point in points]
    accuracy = [point["accuracy"] for point in points]
    return float(np.trapezoid(accuracy, responses) / (responses[-1] - responses[0]))


def beyond(table: pd.DataFrame, method: str, tried: list[float]) -> list[float]:
    """The next rate when the best one lies at the edge of what was tried, else nothing."""
    best = float(table[table["method"] == method].iloc[0]["learning_rate"])
    if best == max(tried):
        return [best * STEP]
    return [best / STEP] if best == min(tried) else []


def draw() -> None:
    """The figure of docs/protocol.md."""
    path = Path(__file__).parents[1] / "docs" / "figures" / f"{NAME}.png"
    path.parent.mkdir(exist_ok=True)
    labels = {"grpo": "GRPO", "sfpo": "SFPO", "repeat": "Repeat(4)"}
    path.write_bytes(learning_rate_bytes(read_sweep(Path(__file__).with_suffix(".csv")), labels)["png"])


if __name__ == "__main__":
    if "--figure" in sys.argv:
        draw()
        sys.exit()
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
