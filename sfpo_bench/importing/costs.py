"""Costs of a run at a step, on the axes in its log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.importing.fields import Fields
from sfpo_bench.importing.log import Decimal, LogRow, RunLog, number


@dataclass(frozen=True, slots=True)
class StatedCosts:
    """Costs that logs do not contain and that the user states; 0 if unknown.

    Each training step samples `responses_per_step` responses, `responses_per_prompt` to each prompt. Each accuracy is
    the mean of `evaluation_responses` responses.
    """

    responses_per_step: float = 0.0
    responses_per_prompt: float = 0.0
    evaluation_responses: int = 0


# May be a whole number with a separator of thousands as well as one with three decimals.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


@dataclass(frozen=True, slots=True)
class Total:
    """A cumulative cost: `values[i]` at `steps[i]`, from 0 at step 0, linear in between."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def at(self, step: int) -> float | None:
        """Return the total at `step`, or None after the last known step."""
        return None if step > self.steps[-1] else float(np.interp(step, self.steps, self.values))


def named(log: RunLog, name: str) -> list[tuple[int, float, str]]:
    """Return step, value and place of every row with `name`, in increasing order of steps.

    Raises `ConfigError`, with the place, for a value that is not a finite number and for two values at one step.
    """
    rows = [row for row in log.rows if name and (name in row.values or name in row.unread)]
    if log.one_value_a_step:
        rows = list({row.step: row for row in rows}.values())
    found = [(row.step, _value(row, name), row.place) for row in rows]
    for early, late in pairwise(found):
        if early[0] == late[0]:
            raise ConfigError(
                f"found two values of {name} at step {late[0]} of arm {log.arm!r}, seed {log.seed} ({early[2]} and "
                f"{late[2]}); expected one. Is there a column that tells the runs apart? arm=NAME seed=NAME. Was the "
                "run resumed? later_wins=true"
            )
    return found


def _value(row: LogRow, name: str) -> float:
    if name not in row.unread:
        return row.values[name]
    text = row.unread[name]
    hint = ""
    if _THOUSANDS.fullmatch(text.strip()):
        hint = ": does the comma separate thousands? Take it out; decimal=comma would read three decimals"
    elif number(text, Decimal.comma) is not None:
        hint = ": say decimal=comma"
    elif text.strip('"+-').lower() in ("nan", "inf", "infinity"):
        hint = ": give what was measured in its place (0 where no answer was right), or take the row out"
    raise ConfigError(f"{row.place}, column {name}: found {text!r:.80}; expected a finite number{hint}")


def totals(log: RunLog, fields: Fields, stated: StatedCosts) -> dict[CostAxis, Total]:
    """Return the run's totals by axis; axes that the log does not determine are absent.

    Raises `ConfigError`, with the place, for a total that is negative or decreases.
    """
    last = max(row.step for row in log.rows)
    found = {axis: _logged(log, name) for axis, name in fields.costs.items()}
    known = {axis: total for axis, total in found.items() if total is not None}
    if stated.responses_per_step and CostAxis.responses not in known:
        known[CostAxis.responses] = Total((0, max(1, last)), (0.0, stated.responses_per_step * max(1, last)))
    if fields.step_is_optimizer_step and CostAxis.optimizer_steps not in known:
        known[CostAxis.optimizer_steps] = Total((0, max(1, last)), (0.0, float(max(1, last))))
    if CostAxis.train_seconds not in known and (seconds := _summed(log, fields)) is not None:
        known[CostAxis.train_seconds] = seconds
    responses = known.get(CostAxis.responses)
    if CostAxis.tokens not in known and responses and (tokens := _tokens(log, fields, responses)):
        known[CostAxis.tokens] = tokens
    if stated.responses_per_prompt and responses and CostAxis.prompts not in known:
        prompts = tuple(value / stated.responses_per_prompt for value in responses.values)
        known[CostAxis.prompts] = Total(responses.steps, prompts)
    return known


def _logged(log: RunLog, name: str) -> Total | None:
    rows = named(log, name)
    if not rows:
        return None
    before = 0.0
    for _, value, place in rows:
        if value < before:
            what = "is negative" if value < 0 else f"falls from {before:g}"
            raise ConfigError(f"{place}: {name} is {value:g} and {what}; expected a total that only grows")
        before = value
    return _from_zero([step for step, _, _ in rows], [value for _, value, _ in rows])


def _summed(log: RunLog, fields: Fields) -> Total | None:
    """Compute seconds from means per step; each mean applies to the steps since the previous row."""
    steps: list[int] = []
    values: list[float] = []
    spent = 0.0
    rows = {(row.step, row.place): row for row in log.rows if fields.step_seconds in row.values}
    for step, value, place in named(log, fields.step_seconds):
        row = rows[step, place]
        inside = [name for name in fields.not_training if name in row.values or name in row.unread]
        own = value - sum(_value(row, name) for name in inside)
        if own < 0:
            raise ConfigError(
                f"{place}: {fields.step_seconds} is {value:g} s and {' + '.join(fields.not_training)} are longer; "
                "expected them inside of it: choose another preset, preset=verl for verl's versions of 2026"
            )
        spent += own * (step - (steps[-1] if steps else 0))
        steps.append(step)
        values.append(spent)
    return _from_zero(steps, values) if steps else None


def _tokens(log: RunLog, fields: Fields, responses: Total) -> Total | None:
    """Compute generated tokens as mean length times the responses since the previous row."""
    steps, values, before, spent = [], [], 0.0, 0.0
    for step, value, _ in named(log, fields.response_tokens):
        by_then = responses.at(step)
        if by_then is None:
            break
        spent += value * (by_then - before)
        before = by_then
        steps.append(step)
        values.append(spent)
    return _from_zero(steps, values) if steps else None


def _from_zero(steps: Sequence[int], values: Sequence[float]) -> Total:
    if steps[0] == 0:
        return Total(tuple(steps), tuple(values))
    return Total((0, *steps), (0.0, *values))
