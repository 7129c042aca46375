"""Makes every number and figure of the pages that follows from the embedded experiment again, in order.

    python -m benchmarks.embedded_numbers --list           the parts: commands, where their numbers stand, CPU minutes
    python -m benchmarks.embedded_numbers                  all that is missing, below results/; goes on after a stop
    python -m benchmarks.embedded_numbers tuned study      these parts alone

To be done after a change of the task, its splits, its warm start or the method. The code must not change on the way:
comparisons and sweeps refuse to go on with another version. Rates come first: when another one is best, write it into
`experiment=arithmetic` and into the scripts of `sweeps/` before going on. Files of the project are written by the
parts; the numbers in sentences and tables of the pages are copied by hand from what the parts print and report.
"""

from __future__ import annotations

import argparse
import io
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from sfpo_bench.reports import compare, load_comparison
from sfpo_bench.statistics import Outcome, cost_to_target

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
START, BUNDLED = "sfpo_bench/models/arithmetic_character_start", "notebooks/data/arithmetic"


@dataclass(frozen=True, slots=True)
class Part:
    """Commands that are given one after another; `python` and `sfpo-bench` are those of this environment."""

    commands: tuple[str, ...]
    shown: tuple[str, ...]
    cpu_minutes: float
    figures: tuple[tuple[str, str], ...] = ()  # below results/, and in docs/figures


PARTS = {
    "rates": Part(
        ("python sweeps/arithmetic_learning_rate.py results", "python sweeps/arithmetic_learning_rate.py --figure"),
        ("sweeps/arithmetic_learning_rate.csv", "docs/figures/arithmetic_learning_rate.png",
         "sfpo_bench/conf/experiment/arithmetic.yaml: learning rates; targets",
         "sweeps/controls_study.py, trigger_study.py, released_code_study.py: rates",
         "docs/protocol.md: Fairness; The report"),
        14,
    ),
    "comparison": Part(
        ("sfpo-bench compare tracking=none",
         "sfpo-bench report results/arithmetic baseline=grpo_sfpo_rate out=results/equal-rate"),
        ("README.md: What `make compare` found, its figure, minutes", "docs/benchmarks.md: The default comparison",
         "docs/protocol.md: Power (ratios beside real ones), Pairs",
         "sfpo_bench/conf/experiment/arithmetic.yaml: sampled accuracy of the warm start"),
        10,
        (("arithmetic/figure.png", "arithmetic.png"), ("arithmetic/anatomy.png", "arithmetic_anatomy.png")),
    ),
    "scores": Part(
        ("sfpo-bench evaluate run=results/arithmetic suite=embedded sampling.max_new_tokens=12 tracking=none",
         "sfpo-bench scores folders=[results/arithmetic]"),
        ("docs/evaluation.md: Two arms of the embedded experiment",),
        3,
    ),
    "tuned": Part(
        ("sfpo-bench compare name=tuned tune=learning_rate tracking=none",),
        ("docs/sweeps.md: The tuned comparison",),
        26,
    ),
    "study": Part(
        ("sfpo-bench study arithmetic tracking=none",
         f"python notebooks/bundle.py comparison results/studies/arithmetic/comparison {BUNDLED}",
         f"python notebooks/bundle.py scores results/studies/arithmetic/scores.csv {BUNDLED}/scores.csv"),
        ("docs/commands.md: A whole study", "docs/studies.md: arithmetic",
         "docs/protocol.md: Each pair of arms, Break-even", BUNDLED),
        22,
        (("studies/arithmetic/figure.png", "study_arithmetic.png"),
         ("studies/arithmetic/comparison/break_even.png", "arithmetic_break_even.png")),
    ),
    "reposition": Part(
        ("sfpo-bench sweep k_alpha_lr sweep.slots=2 tracking=none",
         "python -m sfpo_bench report results/sweeps/k_alpha_lr",
         "cp results/sweeps/k_alpha_lr/trials.csv sweeps/k_alpha_lr.csv",
         "python notebooks/bundle.py sweep results/sweeps/k_alpha_lr notebooks/data/k_alpha_lr"),
        ("docs/sweeps.md: When reposition helps", "sweeps/k_alpha_lr.csv", "notebooks/data/k_alpha_lr"),
        16,
        (("sweeps/k_alpha_lr/response.png", "k_alpha_lr.png"),),
    ),
    "league": Part(
        ("sfpo-bench study league tracking=none",
         *(f"cp results/studies/league/{name} sweeps/{name}"
           for name in ("league.md", "league.csv", "league_pairs.csv")),
         "python -m docs.include"),
        ("docs/finding.md: Which update", "docs/studies.md: The league", "sweeps/league.md", "sweeps/league.csv",
         "sweeps/league_pairs.csv"),
        107,
        (("studies/league/league.png", "league.png"),),
    ),
    "reposition_study": Part(
        ("sfpo-bench study reposition tracking=none",
         "cp results/studies/reposition/report.md sweeps/reposition.md",
         "cp results/studies/reposition/reposition.csv sweeps/reposition.csv",
         "cp results/studies/reposition/areas.csv sweeps/reposition_areas.csv",
         "python -m docs.include"),
        ("docs/finding.md: When reposition helps", "docs/studies.md: When does reposition help?",
         "sweeps/reposition.md", "sweeps/reposition.csv", "sweeps/reposition_areas.csv"),
        76,
        tuple((f"studies/reposition/{name}.png", f"reposition_{name}.png")
              for name in ("equal_rate", "equal_displacement", "conditions")),
    ),
    "notebooks": Part(
        ("python notebooks/run.py 1 3 4 5",),
        ("docs/notebooks/1_convergence.md, 3_anatomy.md, 4_sweep.md, 5_own_style.md and their pictures",),
        2,
    ),
    "controls": Part(
        ("python sweeps/controls_study.py results 6",),
        ("docs/algorithm.md: The other rules", "sweeps/controls_study.csv"),
        9,
    ),
    "trigger": Part(
        ("python sweeps/trigger_study.py results 3",),
        ("docs/algorithm.md: When each variant fires on the arithmetic task", "sweeps/trigger_study.csv"),
        7,
    ),
    "released_code": Part(
        ("python sweeps/released_code_study.py results 6",),
        ("docs/released_code.md: Which quirk matters", "sweeps/released_code_study.csv"),
        18,
    ),
    "against_itself": Part(
        ("sfpo-bench compare name=aa ~comparison.arms.sfpo ~comparison.arms.repeat ~comparison.arms.grpo_sfpo_rate "
         "comparison.seeds=100 tracking=none",
         "python -m benchmarks.calibration aa results/aa --splits 2000"),
        ("docs/protocol.md: The same method against itself",),
        16,
    ),
    "warm_start": Part(
        ("python -m sfpo_bench.models.arithmetic_character results/warm-start",
         f"diff -r --exclude=README.md results/warm-start {START}"),
        (f"{START}/README.md",),
        2,
    ),
}  # fmt: skip


def listed() -> str:
    """The parts as Markdown."""
    lines = ["| part | commands | CPU minutes | where the numbers stand |", "| :--- | :--- | ---: | :--- |"]
    for name, part in PARTS.items():
        commands = "<br>".join(f"`{command}`" for command in part.commands)
        shown = (*part.shown, *(f"docs/figures/{figure}" for _, figure in part.figures))
        lines.append(f"| {name} | {commands} | {part.cpu_minutes:g} | {'; '.join(shown)} |")
    total = sum(part.cpu_minutes for part in PARTS.values())
    return "\n".join([*lines, "", f"{total:g} CPU minutes in all; two cores take a little more than half of that."])


def make(name: str) -> None:
    """Give the commands of a part and bring its figures to their place; ends at the first command that fails."""
    part = PARTS[name]
    for command in part.commands:
        print(f"== {name}: {command}", flush=True)
        program, *arguments = shlex.split(command)
        own = {"python": [sys.executable], "sfpo-bench": [sys.executable, "-m", "sfpo_bench"]}
        subprocess.run([*own.get(program, [program]), *arguments], cwd=ROOT, check=True)
    for source, figure in part.figures:
        (FIGURES / figure).write_bytes(_in_256_colours(ROOT / "results" / source))
    if name == "comparison":
        print(correlations(ROOT / "results" / "arithmetic"))


def correlations(folder: Path) -> str:
    """How log costs of equal seeds hang together between the baseline and each other arm, where all runs arrived."""
    summary = compare(load_comparison(folder))
    lines = []
    others = [arm.name for arm in summary.arms if arm.name != summary.baseline]
    for other, axis, target in product(others, ("responses", "train_seconds"), summary.targets):
        pair = [summary.arm(name).counted() for name in (summary.baseline, other)]
        costs = [[cost_to_target(c.costs(axis), c.accuracies(), target) for c in curves] for curves in pair]
        if all(cost.outcome is Outcome.reached for one in costs for cost in one):
            found = np.corrcoef(np.log([[cost.cost for cost in one] for one in costs]))[0, 1]
            lines.append(f"correlation of log {axis} to {target:g}, {summary.baseline} and {other}: {found:.2f}")
    return "\n".join(lines)


def _in_256_colours(path: Path) -> bytes:
    made = io.BytesIO()
    Image.open(path).convert("RGB").quantize(256).save(made, "PNG", optimize=True)
    return made.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--list", action="store_true", help="print the parts and give no command")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"found no part {', '.join(unknown)}; expected some of {', '.join(PARTS)}")
    if given.list:
        print(listed())
        return
    for name in given.parts or PARTS:
        make(name)


if __name__ == "__main__":
    main()
