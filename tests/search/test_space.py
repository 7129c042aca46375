"""The space of a sweep: what it refuses, what a grid holds, when a parameter exists."""

from __future__ import annotations

import json
import math
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.search.space import Space, override_text, space_of
from sfpo_bench.settings.search import Kind, ParameterSettings

RATE: dict[str, Any] = {"key": "learner.learning_rate", "kind": Kind.log, "low": 1e-4, "high": 8e-4}
TRIGGER: dict[str, Any] = {"key": "trigger", "kind": Kind.categorical, "choices": ["none", "entropy_zscore"]}
WINDOW: dict[str, Any] = {"key": "window", "kind": Kind.int, "low": 5, "high": 25, "step": 10}


def space(**parameters: dict[str, Any]) -> Space:
    return space_of({name: ParameterSettings(**fields) for name, fields in parameters.items()})


WRONG: dict[str, dict[str, dict[str, Any]]] = {
    "key is empty": {"a": {"kind": Kind.float, "low": 0, "high": 1}},
    "expected low below high": {"a": {**RATE, "low": 1.0}},
    "expected a number above 0": {"a": {**RATE, "low": 0}},
    "on a logarithmic scale; expected points": {"a": {**RATE, "step": 1e-4}},
    "low = 'x'; expected a finite number": {"a": {**RATE, "low": "x"}},
    "high = None; expected a finite number": {"a": {**RATE, "high": None}},
    "are whole numbers": {"a": {**WINDOW, "low": 5.5, "step": None}},
    "is not reached from low = 5 in steps of 3": {"a": {**WINDOW, "step": 3}},
    "at least two different values": {"a": {**TRIGGER, "choices": ["none", "none"]}},
    "has choices and kind log": {"a": {**RATE, "choices": [1e-4]}},
    "expected numbers, texts, lists": {"a": {**TRIGGER, "choices": ["none", {"a": 1}]}},
    "names 'trigger'; expected one of a": {"a": {**WINDOW, "when": {"trigger": ["none"]}}},
    "is no value of trigger": {"trigger": TRIGGER, "a": {**WINDOW, "when": {"trigger": ["entropy"]}}},
    "wait for each other": {"a": {**WINDOW, "when": {"b": [5]}}, "b": {**WINDOW, "key": "b", "when": {"a": [5]}}},
    "both set learner.learning_rate": {"a": RATE, "b": RATE},
    "expected letters, digits and _": {"a b": RATE},
    "points = 1": {"a": {**RATE, "points": 1}},
}


@pytest.mark.parametrize("message", list(WRONG))
def test_a_space_that_contradicts_itself_is_refused_with_the_reason(message: str) -> None:
    with pytest.raises(ConfigError) as found:
        space(**WRONG[message])
    assert message in str(found.value)


def test_two_parameters_may_set_one_key_when_they_never_exist_together() -> None:
    made = space(
        method={**TRIGGER, "key": "algorithm", "choices": ["grpo", "sfpo"]},
        slow={**RATE, "when": {"method": ["grpo"]}},
        fast={**RATE, "high": 2e-4, "when": {"method": ["sfpo"]}},
    )
    assert made.overrides({"method": "sfpo", "fast": 1e-4}) == ["algorithm=sfpo", "learner.learning_rate=0.0001"]


def test_points_on_a_logarithmic_scale_are_a_constant_factor_apart() -> None:
    [rate] = space(rate={**RATE, "points": 4}).parameters
    assert rate.grid() == (1e-4, 2e-4, 4e-4, 8e-4)
    assert rate.edge(1e-4) == "low" and rate.edge(8e-4) == "high" and rate.edge(2e-4) == ""
    assert rate.extended("high").grid() == (1.6e-3,) and rate.extended("low").grid() == (5e-5,)


def test_a_continuous_range_is_extended_by_half_its_logarithmic_width() -> None:
    [rate] = space(rate=RATE).parameters
    beyond = rate.extended("high")
    assert beyond.low == rate.high and math.isclose(beyond.high / beyond.low, math.sqrt(rate.high / rate.low))
    assert rate.grid() == () and rate.edge(7.99e-4) == "high" and rate.edge(4e-4) == ""


def test_a_grid_counts_conditional_parameters_only_where_they_exist() -> None:
    made = space(window={**WINDOW, "when": {"trigger": ["entropy_zscore"]}}, trigger=TRIGGER)
    points = made.grid()
    assert points == [
        {"trigger": "none"},
        *({"trigger": "entropy_zscore", "window": window} for window in (5, 15, 25)),
    ]
    with pytest.raises(ConfigError, match="a grid needs values"):
        space(rate=RATE).grid()


def test_corners_hold_both_ends_of_everything_conditions_included() -> None:
    made = space(trigger=TRIGGER, window={**WINDOW, "when": {"trigger": ["entropy_zscore"]}}, rate=RATE)
    corners = list(made.corners())
    assert {corner.get("window") for corner in corners} == {None, 5, 25}
    assert {corner["rate"] for corner in corners} == {1e-4, 8e-4}
    assert all(("window" in corner) == (corner["trigger"] == "entropy_zscore") for corner in corners)


@given(seed=st.integers(0, 1000))
def test_suggested_values_lie_in_the_space_and_only_existing_parameters_are_asked_for(seed: int) -> None:
    made = space(trigger=TRIGGER, window={**WINDOW, "when": {"trigger": ["entropy_zscore"]}}, rate=RATE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    point = made.suggest(study.ask())
    assert set(point) - {"window"} == {"trigger", "rate"} and ("window" in point) == (point["trigger"] != "none")
    rate = point["rate"]
    assert isinstance(rate, float) and 1e-4 <= rate <= 8e-4 and point.get("window", 5) in (5, 15, 25)


def test_values_are_written_as_hydra_reads_them() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import QuotedString

    texts = (
        "none",
        "it's [a] test",
        "5",
        "1e5",
        "true",
        "null",
        "Null",
        "nan",
        "-inf",
        "1_000",
        "0x1",
        "",
        " a",
        "[1]",
        "a,b",
    )
    for value in (True, 3, 2.5e-05, 0.1 + 0.2, None, *texts):
        [override] = OverridesParser.create().parse_overrides([f"a={override_text(value)}"])
        read = override.value()
        read = read.text if isinstance(read, QuotedString) else read
        assert (type(read), read) == (type(value), value)


def test_lists_and_null_are_choices_and_stay_what_they_are_in_a_study() -> None:
    made = space(a={"key": "k", "kind": Kind.categorical, "choices": [[1, "2", ["x y", None]], None, "[1]"]})
    values = made.parameters[0].choices
    stored = json.loads(json.dumps(values))  # what a study gives back
    wanted = ["k=[1,'2',[x y,null]]", "k=null", "k='[1]'"]
    assert [made.overrides({"a": value}) for value in stored] == [[text] for text in wanted]


def test_a_condition_that_never_holds_is_refused_and_steps_are_found_whatever_their_rounding() -> None:
    rate = {"key": "r", "kind": Kind.float, "low": 0.1, "high": 0.5}
    window = {"key": "w", "kind": Kind.categorical, "choices": [1, 2], "when": {"rate": [0.3]}}
    with pytest.raises(ConfigError, match="never exactly that number"):
        space(rate=rate, window=window)
    made = space(rate={**rate, "step": 0.1}, window=window).parameters[1]
    assert made.exists({"rate": 0.1 + 2 * 0.1}) and not made.exists({"rate": 0.2})
    with pytest.raises(ConfigError, match="is no value of flag"):
        space(
            flag={"key": "f", "kind": Kind.categorical, "choices": [True, False]}, w={**window, "when": {"flag": [1]}}
        )
