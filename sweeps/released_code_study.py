"""Which quirk of the released code of SFPO matters on the arithmetic task: each switched off alone, seed by seed.

    python sweeps/released_code_study.py [OUTPUT_ROOT] [SEEDS]

Every arm is `algorithm=sfpo_released_code` at one learning rate with one thing set back; `plain` is `algorithm=sfpo`,
with none of them. Writes released_code_study.csv beside this file; docs/released_code.md says what follows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from study import measure, report

BASE = ["algorithm=sfpo_released_code", "learner.learning_rate=1e-4"]
ARMS = {
    "released": BASE,
    "response_mean": [*BASE, "algorithm.objective.normalization=response_mean"],
    "no_entropy_bonus": [*BASE, "algorithm.objective.entropy_coefficient=0"],
    "start_entropy": [*BASE, "algorithm.update_rule.trigger_entropy=start"],
    "two_sided": [*BASE, "algorithm/update_rule/trigger=entropy_two_sided"],
    "one_mini_batch": [*BASE, "learner.mini_batches=1"],
    "no_weight_decay": [*BASE, "learner.weight_decay=0"],
    "no_wrong_answer_reward": [*BASE, "training.wrong_answer_reward=0"],
    "plain": ["algorithm=sfpo", "learner.learning_rate=1e-4"],
}

if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    report(measure("released_code_study", ARMS, seeds, root), "released", __file__)
