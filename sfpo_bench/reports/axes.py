"""The cost axes of a comparison: what is counted, in which unit, and how a sentence compares it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """One cost. `key` names it in files, `title` above a table; `less` and `more` name it in a comparison."""

    key: str
    title: str
    less: str
    more: str
    meaning: str
    is_time: bool = False

    @property
    def noun(self) -> str:
        """`responses`, `training time`: the axis inside a sentence."""
        return self.less.split(" ", 1)[1]


PROMPTS = Axis(
    "prompts",
    "prompts",
    "fewer prompts",
    "more prompts",
    "problems shown to the model in training; what the SFPO paper calls rollouts",
)
RESPONSES = Axis(
    "responses",
    "sampled responses",
    "fewer responses",
    "more responses",
    "responses sampled for training: prompts x responses per prompt",
)
TOKENS = Axis(
    "tokens",
    "generated tokens",
    "fewer tokens",
    "more tokens",
    "tokens generated in those responses",
)
OPTIMIZER_STEPS = Axis(
    "optimizer_steps",
    "optimizer steps",
    "fewer optimizer steps",
    "more optimizer steps",
    "steps the optimizer took, those of fast passes included",
)
TRAIN_SECONDS = Axis(
    "train_seconds",
    "training time, s",
    "less training time",
    "more training time",
    "wall-clock seconds of rollouts, grading and updates; evaluation, checkpoints and work lost to a kill left out",
    is_time=True,
)
TOTAL_SECONDS = Axis(
    "total_seconds",
    "total time, s",
    "less total time",
    "more total time",
    "wall-clock seconds of everything the run's processes did, evaluation and checkpoints included",
    is_time=True,
)

AXES = (PROMPTS, RESPONSES, TOKENS, OPTIMIZER_STEPS, TRAIN_SECONDS, TOTAL_SECONDS)
ALL_KEYS = tuple(axis.key for axis in AXES)
# What the answer speaks of: one family of statements.
MAIN_AXES = (RESPONSES, TRAIN_SECONDS)


def known_axes(keys: Collection[str], among: Sequence[Axis] = AXES) -> tuple[Axis, ...]:
    """Those of the axes that were recorded: imported runs may lack some."""
    return tuple(axis for axis in among if axis.key in keys)
