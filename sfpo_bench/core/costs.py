"""The cost axes on which runs are compared, and the record of a run's costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class CostAxis(StrEnum):
    """A cost axis; its value is the key in journals, tables, settings and the tracking store.

    CostAxis.train_seconds.label == "training time, s"
    """

    prompts = "prompts"
    responses = "responses"
    tokens = "tokens"
    optimizer_steps = "optimizer_steps"
    train_seconds = "train_seconds"
    total_seconds = "total_seconds"

    @property
    def words(self) -> str:
        """The name of the axis: `sampled responses`, `training time`."""
        return _ABOUT[self].words

    @property
    def noun(self) -> str:
        """The name within a sentence: `responses`, `training time`."""
        return _ABOUT[self].noun or self.words

    @property
    def label(self) -> str:
        """The name with unit, for tables: `sampled responses`, `training time, s`."""
        return f"{self.words}, {_ABOUT[self].unit}" if _ABOUT[self].unit else self.words

    @property
    def caption(self) -> str:
        """The label with details, for figures: `training time, s (without evaluation and checkpoints)`."""
        return f"{self.label} ({_ABOUT[self].detail})" if _ABOUT[self].detail else self.label

    @property
    def meaning(self) -> str:
        """The definition of the axis."""
        return _ABOUT[self].meaning

    @property
    def is_time(self) -> bool:
        return _ABOUT[self].unit == "s"

    @property
    def less(self) -> str:
        """The phrase `fewer responses` or `less training time`."""
        return f"{'less' if self.is_time else 'fewer'} {self.noun}"

    @property
    def more(self) -> str:
        """The phrase `more responses`."""
        return f"more {self.noun}"


@dataclass(frozen=True, slots=True)
class _About:
    """The texts of an axis in reports; an empty `noun` means `words`."""

    words: str
    meaning: str
    noun: str = ""
    unit: str = ""
    detail: str = ""


_ABOUT: Mapping[CostAxis, _About] = {
    CostAxis.prompts: _About(
        "prompts", "problems shown to the model in training; what the SFPO paper calls rollouts"
    ),
    CostAxis.responses: _About(
        "sampled responses",
        "responses sampled for training: prompts x responses per prompt",
        noun="responses",
        detail="prompts x responses per prompt",
    ),
    CostAxis.tokens: _About("generated tokens", "tokens generated in those responses", noun="tokens"),
    CostAxis.optimizer_steps: _About(
        "optimizer steps", "steps the optimizer took, those of fast passes included"
    ),
    CostAxis.train_seconds: _About(
        "training time",
        "wall-clock seconds of rollouts, grading and updates; evaluation, checkpoints and work lost to a kill left out",
        unit="s",
        detail="without evaluation and checkpoints",
    ),
    CostAxis.total_seconds: _About(
        "total time",
        "wall-clock seconds of everything the run's processes did, evaluation and checkpoints included",
        unit="s",
    ),
}  # fmt: skip

AXIS_KEYS = tuple(axis.value for axis in CostAxis)
# The axes of report summaries, figures and accuracies in the tracking store.
MAIN_AXES = (CostAxis.responses, CostAxis.train_seconds)


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of a run so far, on every axis.

    `train_seconds` is kept work only: no evaluation, no checkpoints, no work lost to a kill. `total_seconds` is the
    wall time of the run's processes summed over resumes, lost work included. `cpu_seconds` is the CPU time of
    `train_seconds`; runs are not compared on it.
    """

    prompts: int = 0
    responses: int = 0
    tokens: int = 0
    optimizer_steps: int = 0
    train_seconds: float = 0.0
    total_seconds: float = 0.0
    cpu_seconds: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Costs:
        """The costs with these values by key; counts are rounded, missing keys are 0."""
        return cls(**{key: value if COST_TYPES[key] is float else round(value) for key, value in values.items()})  # type: ignore[arg-type]  # the fields differ in type

    def on(self, axis: CostAxis) -> float:
        """The cost on one axis."""
        return float(getattr(self, axis.value))


# The fields of `Costs` with their types, in order; used for table columns and journal keys.
COST_TYPES: Mapping[str, type] = {name: type(getattr(Costs(), name)) for name in Costs.__slots__}
