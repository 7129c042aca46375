"""Checks of `training.stop_at` and `training.first_evaluation` against other settings."""

from __future__ import annotations

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.stop_at import EvaluationMode, StopAt
from sfpo_bench.core.types import Split
from sfpo_bench.settings.comparison import ComparisonSettings
from sfpo_bench.settings.training import EvaluationSettings, TrainingSettings


def check_stop(training: TrainingSettings, evaluation: EvaluationSettings) -> None:
    """Raise `ConfigError` for a stop rule on evaluations that the run does not make or must not use."""
    if training.first_evaluation > training.steps:
        raise ConfigError(
            f"training.first_evaluation = {training.first_evaluation} with training.steps = {training.steps}: the run "
            "would end before it; expected at most training.steps"
        )
    stop = training.stop_at
    if not stop.accuracy:
        return
    if stop.split is Split.train:
        raise ConfigError("training.stop_at.split = train, on which nothing is evaluated; expected select or report")
    if stop.split is Split.report and not stop.allow_report:
        raise ConfigError(
            "training.stop_at.split = report: a run that ends when it is good on the problems that are reported looks "
            "better than it is; use training.stop_at.split=select, or allow it explicitly: "
            "training.stop_at.allow_report=true"
        )
    key, responses = _responses(stop, evaluation)
    if not responses:
        raise ConfigError(
            f"training.stop_at waits for {stop}, but no such evaluation is made; set evaluation.{key} above 0"
        )


def _responses(stop: StopAt, evaluation: EvaluationSettings) -> tuple[str, int]:
    """The key and value of the number of responses in the evaluations that stop a run."""
    if stop.mode is EvaluationMode.greedy:
        if stop.split is not Split.report:
            raise ConfigError(
                "training.stop_at.mode = greedy with split = select: only report problems are decoded greedily; use "
                "training.stop_at.mode=sampled, or training.stop_at.split=report with "
                "training.stop_at.allow_report=true"
            )
        return "greedy_problems", evaluation.greedy_problems
    if stop.split is Split.report:
        return "responses", evaluation.responses
    return "select_responses", evaluation.select_responses


def check_stopped_curves(stop: StopAt, split: Split, targets: dict[str, float], place: str) -> None:
    """Raise `ConfigError` when stopped runs would change the costs to `targets`, given by their keys.

    The curve of `place` must be the one that stops the run, and targets must not exceed the stop accuracy. Then every
    first crossing is recorded; any other curve would be cut at a run-dependent point.
    """
    if not stop.accuracy:
        return
    if stop.split is not split or stop.mode is not EvaluationMode.sampled:
        raise ConfigError(
            f"{place}.split = {split.value}, but training.stop_at ends runs by {stop}: what a run that was ended would "
            f"have cost on other evaluations is not known; expected training.stop_at.mode=sampled and one split for "
            f"both: {place}.split=select, or training.stop_at.split=report with training.stop_at.allow_report=true"
        )
    for key, target in targets.items():
        if target > stop.accuracy:
            raise ConfigError(
                f"{key} = {target:g} is above training.stop_at.accuracy = {stop.accuracy:g}, where runs end; expected "
                "it at or below that"
            )


def check_stopped_comparison(training: TrainingSettings, comparison: ComparisonSettings) -> None:
    """Raise `ConfigError` for a comparison whose costs cannot be computed from stopped runs."""
    targets = {f"comparison.targets[{place}]": target for place, target in enumerate(comparison.targets)}
    check_stopped_curves(training.stop_at, comparison.split, targets, "comparison")
