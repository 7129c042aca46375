"""Further controls of SFPO on the arithmetic task: does its step only reach further, and is it the reposition?

    python sweeps/controls_study.py [OUTPUT_ROOT] [SEEDS]

GRPO and SFPO at their tuned learning rates; GRPO at SFPO's rate times alpha K + 1; Lookahead across batches at GRPO's
rate; Repeat(4) at SFPO's rate with and without early stopping on the approximate KL, and at that rate times
(alpha K + 1) / (K + 1). Writes controls_study.csv beside
this file; docs/algorithm.md says what follows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from study import measure, report

GRPO_RATE, SFPO_RATE = "learner.learning_rate=4e-4", "learner.learning_rate=2e-4"
ARMS = {
    "grpo": ["algorithm=grpo", GRPO_RATE],
    "sfpo": ["algorithm=sfpo", "algorithm/update_rule/trigger=none", SFPO_RATE],
    "repeat": ["algorithm=repeat", SFPO_RATE],
    "repeat_kl": ["algorithm=repeat", "algorithm.update_rule.kl_limit=0.01", SFPO_RATE],
    "grpo_equal_displacement": ["algorithm=grpo_equal_displacement", SFPO_RATE],
    "repeat_equal_displacement": ["algorithm=repeat_equal_displacement", SFPO_RATE],
    "lookahead": ["algorithm=lookahead", GRPO_RATE],
}

if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    report(measure("controls_study", ARMS, seeds, root), "grpo", __file__)
