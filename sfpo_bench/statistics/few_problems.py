"""A warning about accuracies measured on few problems, which more responses per problem do not fix."""

from __future__ import annotations

import math

FEW_PROBLEMS = 30


def few_problems(problems: int, split: str) -> str | None:
    """Return a warning with the 95 % error due to the choice of `problems` problems; None from 30 on."""
    if problems >= FEW_PROBLEMS:
        return None
    points = 100 * 1.96 * 0.5 / math.sqrt(problems)
    return (
        f"accuracies are of {problems} {split} problems: of others like them they may be off by up to {points:.0f} "
        f"points (95 %), however many responses each one gets; expected {FEW_PROBLEMS} problems or more"
    )
