"""Accuracy curves in a publication's figures, and a check of its printed costs against them.

The points are in `published/curves/NAME.yaml`, read off a figure: training steps, and accuracy in percent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sfpo_bench.reports.papers.published_results import Published, average, published_data
from sfpo_bench.results.codec import from_plain

APART = 0.1  # relative difference of two ratios that is too large for a reading error


@dataclass(frozen=True, slots=True)
class Markers:
    """The steps at which the figure marks that baseline and method reach the `target`, in percent."""

    baseline: int
    method: int
    target: float

    @property
    def ratio(self) -> float:
        return self.baseline / self.method


@dataclass(frozen=True, slots=True)
class ModelCurves:
    """The curves of one model: (step, accuracy) in ascending order of steps."""

    model: str
    baseline: tuple[tuple[float, ...], ...]
    method: tuple[tuple[float, ...], ...]
    markers: Markers | None = None


@dataclass(frozen=True, slots=True)
class AuthorsCurves:
    """All curves of a publication. The error of a point is at most `error` percentage points."""

    source: str
    error: float
    notes: tuple[str, ...]
    models: tuple[ModelCurves, ...]


@dataclass(frozen=True, slots=True)
class CurveReading:
    """Values read from the curves of a model, accuracies in percent.

    With markers and a printed ratio: `first_at` is the step at which the method's curve first reaches the target (None
    if never), and `at_printed_step` its accuracy at the step that the printed ratio is based on.
    """

    model: str
    baseline_best: float
    method_best: float
    table_gain: float | None
    markers: Markers | None
    printed_ratio: float | None
    printed_step: int | None
    first_at: float | None
    at_printed_step: float | None

    @property
    def first_ratio(self) -> float | None:
        """The baseline's marker divided by the step at which the method first reaches the target."""
        return self.markers.baseline / self.first_at if self.markers and self.first_at else None

    @property
    def disagrees(self) -> bool:
        """True if the ratio of the markers and the printed ratio differ by more than a reading error."""
        if self.markers is None or self.printed_ratio is None:
            return False
        return abs(self.markers.ratio / self.printed_ratio - 1) > APART


def authors_curves(found: Published) -> AuthorsCurves | None:
    """Return the curves of a publication, or None if it has none."""
    if not found.curves:
        return None
    where = f"curves/{found.curves}"
    return from_plain(AuthorsCurves, published_data(where), f"published {where}")


def readings(found: Published, curves: AuthorsCurves) -> list[CurveReading]:
    """Return one reading for each model that has curves."""
    return [_reading(found, one) for one in curves.models]


def accuracy_at(curve: tuple[tuple[float, ...], ...], step: float) -> float:
    """Return the accuracy of a curve at a step, linearly interpolated; beyond an end, the accuracy at that end."""
    for (before, low), (after, high) in pairwise(curve):
        if before <= step <= after:
            return low + (high - low) * (step - before) / (after - before)
    return curve[0][1] if step < curve[0][0] else curve[-1][1]


def first_crossing(curve: tuple[tuple[float, ...], ...], target: float) -> float | None:
    """Return the interpolated step at which a curve first reaches the target, or None if it does not."""
    if curve[0][1] >= target:
        return curve[0][0]
    for (before, low), (after, high) in pairwise(curve):
        if low < target <= high:
            return before + (after - before) * (target - low) / (high - low)
    return None


def curve_disagreements(found: Published, curves: AuthorsCurves) -> Iterator[str]:
    """Yield a paragraph on every printed ratio that disagrees with the markers on the authors' own curves."""
    for one in readings(found, curves):
        if not one.disagrees or one.markers is None or one.at_printed_step is None:
            continue
        marks, first = one.markers, ""
        if one.first_at is not None:
            first = f" (by linear interpolation the curve reaches it at step {one.first_at:.0f}: {one.first_ratio:.2f})"
        yield (
            f"{one.model}: the printed ratio is {one.printed_ratio:.2f}. The markers on the authors' own curves, at "
            f"steps {marks.baseline} and {marks.method}, give {marks.ratio:.2f}{first}. The printed ratio is based on "
            f"step {one.printed_step}. There the curve is at {one.at_printed_step:.1f}; the target is "
            f"{marks.target:.1f}."
        )


def _reading(found: Published, curves: ModelCurves) -> CurveReading:
    cost = next((one for one in found.costs if one.model == curves.model), None)
    marks, step = curves.markers, None if cost is None else cost.method.steps
    return CurveReading(
        curves.model,
        max(accuracy for _, accuracy in curves.baseline),
        max(accuracy for _, accuracy in curves.method),
        _table_gain(found, curves.model),
        marks,
        None if cost is None else cost.prompts_ratio,
        step,
        None if marks is None else first_crossing(curves.method, marks.target),
        None if step is None else accuracy_at(curves.method, step),
    )


def _table_gain(found: Published, model: str) -> float | None:
    rows = [row for row in found.rows if row.model == model and row.method != found.baseline]
    return average(rows[0]) - average(found.baseline_of(rows[0])) if rows else None
