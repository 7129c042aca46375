"""When each trigger of SFPO fires on the arithmetic task, and what that costs or saves, seed by seed.

    python sweeps/trigger_study.py [OUTPUT_ROOT] [SEEDS]

Every arm is `algorithm=sfpo` at its tuned learning rate; `none` never fires. Writes trigger_study.csv beside this file;
docs/algorithm.md says what follows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from study import measure, report

TRIGGER = "algorithm/update_rule/trigger"
WINDOW = "algorithm.update_rule.trigger.window=10"
BASE = ["algorithm=sfpo", "learner.learning_rate=2e-4"]
ARMS = {
    "none": [*BASE, f"{TRIGGER}=none"],
    "fixed_15": [*BASE, f"{TRIGGER}=fixed_step", "algorithm.update_rule.trigger.last_step=15"],
    "fixed_30": [*BASE, f"{TRIGGER}=fixed_step", "algorithm.update_rule.trigger.last_step=30"],
    "one_sided_30": BASE,
    "one_sided_10": [*BASE, WINDOW],
    "two_sided_30": [*BASE, f"{TRIGGER}=entropy_two_sided"],
    "two_sided_10": [*BASE, f"{TRIGGER}=entropy_two_sided", WINDOW],
}

if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    report(measure("trigger_study", ARMS, seeds, root), "none", __file__)
