"""The cost axes of a comparison: what is counted, in which unit, and how a sentence compares it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """One cost. `key` names it in files, `title` above a table; `less` and `as_much` name it in a comparison."""

    key: str
    title: str
    less: str
    as_much: str
    meaning: str
    is_time: bool = False


PROMPTS = Axis(
    "prompts",
    "prompts",
    "fewer prompts",
    "as many prompts",
    "problems shown to the model in training; what the SFPO paper calls rollouts",
)
RESPONSES = Axis(
    "responses",
    "sampled responses",
    "fewer responses",
    "as many responses",
    "responses sampled for training: prompts x responses per prompt",
)
TOKENS = Axis(
    "tokens",
    "generated tokens",
    "fewer tokens",
    "as many tokens",
    "tokens generated in those responses",
)
OPTIMIZER_STEPS = Axis(
    "optimizer_steps",
    "optimizer steps",
    "fewer optimizer steps",
    "as many optimizer steps",
    "steps the optimizer took, those of fast passes included",
)
TRAIN_SECONDS = Axis(
    "train_seconds",
    "training time, s",
    "less training time",
    "as much training time",
    "wall-clock seconds of rollouts, grading and updates; evaluation, checkpoints and work lost to a kill left out",
    is_time=True,
)
TOTAL_SECONDS = Axis(
    "total_seconds",
    "total time, s",
    "less total time",
    "as much total time",
    "wall-clock seconds of everything the run's processes did, evaluation and checkpoints included",
    is_time=True,
)

AXES = (PROMPTS, RESPONSES, TOKENS, OPTIMIZER_STEPS, TRAIN_SECONDS, TOTAL_SECONDS)
