"""The search space of a sweep: parameters, conditions, and conversion of points to overrides."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.override_text import as_value
from sfpo_bench.settings.search import Kind, ParameterSettings

if TYPE_CHECKING:
    from optuna.trial import Trial

# A list is stored as text in Hydra's syntax, since Optuna stores scalars only.
Value = bool | int | float | str | None
Point = Mapping[str, Value]

_CLOSE = 1e-9  # relative tolerance: samplers and grids round differently

_EDGE = 0.02  # share of a continuous range that counts as its edge


class ListText(str):
    """A list in the syntax of an override, such as `[1,2]`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One dimension. Numbers are in [low, high]; `step` 0 means continuous. `choices` are those of a categorical."""

    name: str
    key: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    points: int = 0
    choices: tuple[Value, ...] = ()
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    @property
    def is_log(self) -> bool:
        return self.kind in (Kind.log, Kind.log_int)

    @property
    def is_whole(self) -> bool:
        return self.kind in (Kind.int, Kind.log_int)

    def exists(self, point: Point) -> bool:
        """Return True if the values in `point` meet this parameter's conditions."""
        return all(name in point and any(_same(point[name], value) for value in values) for name, values in self.when)

    @property
    def is_continuous(self) -> bool:
        """Return True if a sampler may draw any number in the range."""
        return self.kind in (Kind.float, Kind.log) and not self.step

    def can_be(self, value: Value) -> bool:
        """Return True if a sampler can draw exactly this value; for a continuous range only a grid of `points` can."""
        if self.kind is Kind.log_int and not self.points:
            return not isinstance(value, (bool, str)) and value is not None and self._holds(value)
        return any(_same(value, known) for known in self.grid())

    def _holds(self, value: float) -> bool:
        return self.low <= value <= self.high and value == int(value)

    def override(self, value: Value) -> str:
        """Return the override that sets this parameter to `value`."""
        # Optuna returns plain strings; the choices tell which of them are lists.
        is_list = any(isinstance(choice, ListText) and choice == value for choice in self.choices)
        return f"{self.key}={value if is_list else override_text(value)}"

    def suggest(self, trial: Trial) -> Value:
        """Return the trial's value of this parameter, drawn if it has none yet."""
        if self.kind is Kind.categorical:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            step = round(self.step) or 1
            return trial.suggest_int(self.name, round(self.low), round(self.high), step=step, log=self.is_log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step or None, log=self.is_log)

    def grid(self) -> tuple[Value, ...]:
        """Return the grid values: every choice, every step, or `points` equally spaced values; empty if undefined."""
        if self.kind is Kind.categorical:
            return self.choices
        if self.points == 1:
            return (self._number(self.low),)
        if self.points:
            low, high = (math.log(self.low), math.log(self.high)) if self.is_log else (self.low, self.high)
            between = [low + (high - low) * index / (self.points - 1) for index in range(self.points)]
            inner = [math.exp(x) if self.is_log else x for x in between[1:-1]]
            # Round to twelve digits, so that a factor of two between rates is exactly two.
            values = [self.low, *(float(f"{x:.12g}") for x in inner), self.high]
            return tuple(dict.fromkeys(self._number(x) for x in values))
        step = self.step or (1.0 if self.kind is Kind.int else 0.0)
        if not step:
            return ()
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return tuple(self._number(float(f"{self.low + index * step:.12g}")) for index in range(count))

    def edge(self, value: Value) -> str:
        """Return `low` or `high` if the value is at that end of the range, else ""; always "" for categoricals."""
        if self.kind is Kind.categorical or value is None or isinstance(value, (str, bool)):
            return ""
        if self.grid() or self.is_whole:
            return "low" if value <= self.low else "high" if value >= self.high else ""
        scale = math.log if self.is_log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return "low" if share <= _EDGE else "high" if share >= 1 - _EDGE else ""

    def extended(self, edge: str) -> Parameter:
        """Return the range beyond the end `edge`: one grid value, or half the (logarithmic) width of this range."""
        values = [float(value) for value in self.grid() if value is not None and not isinstance(value, (str, bool))]
        if self.is_log:
            factor = values[1] / values[0] if len(values) > 1 else math.sqrt(self.high / self.low)
            low, high = (self.low / factor, self.low) if edge == "low" else (self.high, self.high * factor)
            far = low if edge == "low" else high
        else:
            width = values[1] - values[0] if len(values) > 1 else (self.high - self.low) / 2
            low, high = (self.low - width, self.low) if edge == "low" else (self.high, self.high + width)
            far = low if edge == "low" else high
        if values:
            far = float(f"{far:.12g}")
            return replace(self, low=far, high=far, points=1, step=0.0)
        return replace(self, low=low, high=high)

    def _number(self, value: float) -> int | float:
        return round(value) if self.is_whole else value


@dataclass(frozen=True, slots=True)
class Space:
    """Parameters, ordered so that each follows those its conditions refer to."""

    parameters: tuple[Parameter, ...]

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Suggest every active parameter; values that the trial already has are kept."""
        point: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.exists(point):
                point[parameter.name] = parameter.suggest(trial)
        return point

    def overrides(self, point: Point) -> list[str]:
        """Return the point as Hydra overrides."""
        return [parameter.override(point[parameter.name]) for parameter in self._of(point)]

    def grid(self) -> list[dict[str, Value]]:
        """Return all combinations of grid values that meet the conditions, the last parameter varying fastest.

        Raises `ConfigError` for a continuous range without `points` or `step`.
        """
        points: list[dict[str, Value]] = [{}]
        for parameter in self.parameters:
            values = parameter.grid()
            if not values:
                raise ConfigError(
                    f"sweep.parameters.{parameter.name} is a continuous range, and a grid needs values; "
                    f"set sweep.parameters.{parameter.name}.points, or .step"
                )
            points = [
                {**point, parameter.name: value} if parameter.exists(point) else point
                for point in points
                for value in (values if parameter.exists(point) else values[:1])
            ]
        return points

    def corners(self) -> Iterator[dict[str, Value]]:
        """Yield a few points that together contain both ends of every range and every choice, within the conditions."""
        extremes = {p.name: p.choices or (p._number(p.low), p._number(p.high)) for p in self.parameters}
        for wanted in self.parameters:
            for value in extremes[wanted.name]:
                yield self._fill({wanted.name: value}, wanted, extremes)

    def _fill(
        self, fixed: dict[str, Value], wanted: Parameter, extremes: Mapping[str, Sequence[Value]]
    ) -> dict[str, Value]:
        """Return a point with the wanted value, in which the parameters it depends on make it active."""
        needed = dict(fixed)
        waiting = [wanted]
        while waiting:
            for name, values in waiting.pop().when:
                needed.setdefault(name, values[0])
                waiting.append(next(p for p in self.parameters if p.name == name))
        point: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.exists(point):
                point[parameter.name] = needed.get(parameter.name, extremes[parameter.name][0])
        return point

    def _of(self, point: Point) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.name in point]


def override_text(value: Value) -> str:
    """Return a value in Hydra's syntax."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    return as_value(value)


def _same(one: Value, other: Value) -> bool:
    """Return True for equal values of one type: 1 equals 1.0, but not `true` or the string `1`."""
    if isinstance(one, (bool, str)) or isinstance(other, (bool, str)) or one is None or other is None:
        return type(one) is type(other) and one == other
    return math.isclose(one, other, rel_tol=_CLOSE)


def space_of(settings: Mapping[str, ParameterSettings]) -> Space:
    """Return the checked space of `sweep.parameters`; raises `ConfigError` for contradictions."""
    if not settings:
        raise ConfigError(
            "sweep.parameters is empty; choose a sweep that has a space, or add a parameter: "
            "'sweep.parameters.rate={key: learner.learning_rate, kind: log, low: 1e-5, high: 1e-3}'"
        )
    parameters = {name: _parameter(name, raw) for name, raw in settings.items()}
    ordered = _ordered(parameters)
    _check_conditions(parameters)
    _check_keys(ordered)
    return Space(tuple(ordered))


def _parameter(name: str, raw: ParameterSettings) -> Parameter:
    where = f"sweep.parameters.{name}"
    if not name.replace("_", "").isalnum():
        raise ConfigError(f"sweep.parameters has the name {name!r}; expected letters, digits and _")
    if not raw.key:
        raise ConfigError(f"{where}.key is empty; expected the setting it changes, such as learner.learning_rate")
    when = tuple((key, _values(f"{where}.when.{key}", value)) for key, value in raw.when.items())
    if raw.kind is Kind.categorical:
        choices = _values(f"{where}.choices", raw.choices)
        if len(set(map(repr, choices))) < len(choices) or len(choices) < 2:
            raise ConfigError(f"{where}.choices = {raw.choices}: expected at least two different values")
        return Parameter(name, raw.key, raw.kind, choices=choices, when=when)
    if raw.choices:
        raise ConfigError(f"{where} has choices and kind {raw.kind.value}; set kind=categorical, or low and high")
    low, high = _number(f"{where}.low", raw.low), _number(f"{where}.high", raw.high)
    step = 0.0 if raw.step is None else _number(f"{where}.step", raw.step)
    parameter = Parameter(name, raw.key, raw.kind, low, high, step, raw.points, (), when)
    _check_range(where, parameter)
    return parameter


def _check_range(where: str, parameter: Parameter) -> None:
    low, high, step = parameter.low, parameter.high, parameter.step
    if not low < high:
        raise ConfigError(f"{where}: low = {low:g} and high = {high:g}; expected low below high")
    if parameter.is_log and low <= 0:
        raise ConfigError(f"{where}: low = {low:g} on a logarithmic scale; expected a number above 0")
    if parameter.is_log and step:
        raise ConfigError(f"{where}: step = {step:g} on a logarithmic scale; expected points, or no step")
    if step < 0 or step > high - low:
        raise ConfigError(f"{where}: step = {step:g}; expected a number above 0 and at most {high - low:g}")
    if parameter.is_whole and any(number != int(number) for number in (low, high, step)):
        raise ConfigError(f"{where}: low, high and step of kind {parameter.kind.value} are whole numbers")
    if parameter.points == 1:
        raise ConfigError(f"{where}: points = 1; expected at least 2, or 0 for none")
    if step and abs((high - low) / step - round((high - low) / step)) > 1e-6:
        raise ConfigError(f"{where}: high = {high:g} is not reached from low = {low:g} in steps of {step:g}")


def _number(where: str, value: object) -> float:
    # YAML loads 1e-4 as a string, since its floats need a decimal point.
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{where} = {value!r}; expected a finite number")
    return float(value)


def _values(where: str, values: object) -> tuple[Value, ...]:
    if not isinstance(values, (list, tuple)):
        values = [values]
    return tuple(_value(where, value) for value in values)


def _value(where: str, value: object) -> Value:
    if isinstance(value, (list, tuple)):
        parts = (_value(where, part) for part in value)
        return ListText(f"[{','.join(x if isinstance(x, ListText) else override_text(x) for x in parts)}]")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(f"{where} holds {value!r}; expected numbers, texts, lists, null, true or false")


def _ordered(parameters: Mapping[str, Parameter]) -> list[Parameter]:
    """Return the parameters sorted so that each follows those its conditions refer to, otherwise in the given order."""
    ordered: list[Parameter] = []
    waiting = list(parameters.values())
    while waiting:
        done = {parameter.name for parameter in ordered}
        ready = next((p for p in waiting if all(name in done or name not in parameters for name, _ in p.when)), None)
        if ready is None:
            names = ", ".join(parameter.name for parameter in waiting)
            raise ConfigError(f"sweep.parameters: the conditions of {names} wait for each other; take one away")
        ordered.append(ready)
        waiting.remove(ready)
    return ordered


def _check_conditions(parameters: Mapping[str, Parameter]) -> None:
    for parameter in parameters.values():
        for name, values in parameter.when:
            where = f"sweep.parameters.{parameter.name}.when"
            if name not in parameters:
                raise ConfigError(f"{where} names {name!r}; expected one of {', '.join(parameters)}")
            other = parameters[name]
            if other.is_continuous and not other.points:
                raise ConfigError(
                    f"{where}.{name} = {values[0]!r}: {name} is a continuous range, whose draws are never exactly that "
                    f"number; give sweep.parameters.{name} a step, or kind: categorical with choices"
                )
            strange = [value for value in values if not other.can_be(value)]
            if strange:
                known = ", ".join(map(str, other.grid())) or f"whole numbers from {other.low:g} to {other.high:g}"
                raise ConfigError(f"{where}.{name} = {strange[0]!r} is no value of {name}; it has {known}")


def _check_keys(parameters: Sequence[Parameter]) -> None:
    for one, other in itertools.combinations(parameters, 2):
        if one.key == other.key and not _exclude(one, other):
            raise ConfigError(
                f"sweep.parameters.{one.name} and .{other.name} both set {one.key}; "
                "give them conditions that exclude each other, or drop one"
            )


def _exclude(one: Parameter, other: Parameter) -> bool:
    theirs = dict(other.when)
    return any(
        name in theirs and not any(_same(value, theirs_) for value in values for theirs_ in theirs[name])
        for name, values in one.when
    )
