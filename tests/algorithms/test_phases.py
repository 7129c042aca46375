"""Which method a step uses, what is refused beforehand, and what rules remember across phases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sfpo_bench.algorithms.advantages.group import GroupAdvantage
from sfpo_bench.algorithms.objectives import Clipped
from sfpo_bench.algorithms.phases import InOrder, MethodSchedule, OnePhase, PhaseSettings
from sfpo_bench.algorithms.protocols import RuleNeeds, RuleState, StepMethod
from sfpo_bench.algorithms.selections.every import Every
from sfpo_bench.algorithms.triggers import EntropyZScore
from sfpo_bench.algorithms.update_rules import OnePass, Repeat, SlowFast
from sfpo_bench.core.errors import ConfigError

KEY = "algorithm.phases"


def own() -> StepMethod:
    return StepMethod(GroupAdvantage(), Every(), Clipped(), SlowFast(trigger=EntropyZScore(window=3)))


def test_a_step_uses_the_parts_of_its_phase_and_for_the_rest_those_of_the_algorithm() -> None:
    method, wide = own(), Clipped(clip_high=0.5)
    phases = InOrder(named={"late": PhaseSettings(3, 0, objective=wide), "early": PhaseSettings(1, 2)})
    phases.check(KEY, 6)
    schedule = MethodSchedule(method, phases, 6)
    used = [schedule.at(step) for step in range(1, 7)]
    assert [one.objective is wide for one in used] == [False, False, True, True, True, True]
    assert all(one.rule is method.rule and one.advantage is method.advantage for one in used)
    assert [one.place for one in schedule.used] == [f"{KEY}.named.early", f"{KEY}.named.late"]


def test_needs_are_the_most_of_those_that_are_used() -> None:
    phases = InOrder(named={"a": PhaseSettings(1, 2, update_rule=Repeat(passes=9)), "b": PhaseSettings(3, 0)})
    assert MethodSchedule(own(), phases, 4).needs == RuleNeeds(passes=9, copies=1)
    assert MethodSchedule(own(), phases, 2).needs == RuleNeeds(passes=9), "no step of the second"
    assert not MethodSchedule(own(), phases, 4).uses_reference
    measured = InOrder(named={"a": PhaseSettings(1, 2), "b": PhaseSettings(3, 0, objective=Clipped(kl_coefficient=1))})
    assert MethodSchedule(own(), measured, 4).uses_reference and not MethodSchedule(own(), measured, 2).uses_reference


REFUSED = {
    "names no phase": {},
    "phases a and b overlap: b begins with step 3, a ends with step 3": {"a": (1, 3), "b": (3, 0)},
    "no phase has steps 1 to 1": {"a": (2, 0)},
    "no phase has steps 3 to 4": {"a": (1, 2), "b": (5, 0)},
    "no phase has steps 5 to 6": {"a": (1, 2), "b": (3, 4)},
    "named.b has steps 3 to 9, but training.steps = 6": {"a": (1, 2), "b": (3, 9)},
    "named.b has steps 8 to 6, but training.steps = 6": {"a": (1, 6), "b": (8, 0)},
    "named.b ends with step 2 before it begins with step 5": {"a": (1, 4), "b": (5, 2)},
    "expected letters, digits": {"a.b": (1, 0)},
}


@pytest.mark.parametrize(("message", "spans"), REFUSED.items())
def test_phases_that_do_not_make_up_the_run_are_refused(message: str, spans: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match=message):
        InOrder(named={name: PhaseSettings(*span) for name, span in spans.items()}).check(KEY, 6)


@pytest.mark.parametrize("second", [(7, 0), (7, 6)])
def test_a_phase_without_steps_is_none(second: tuple[int, int]) -> None:
    phases = InOrder(named={"a": PhaseSettings(1, 6), "b": PhaseSettings(*second, update_rule=Repeat())})
    phases.check(KEY, 6)
    assert [method.place for method in MethodSchedule(own(), phases, 6).used] == [f"{KEY}.named.a"]


def test_the_algorithms_own_rule_goes_on_and_each_other_one_has_a_memory_of_its_own() -> None:
    def schedule() -> MethodSchedule:
        theirs = SlowFast(trigger=EntropyZScore(window=4))
        named = {"a": PhaseSettings(1, 2), "b": PhaseSettings(3, 4, update_rule=theirs), "c": PhaseSettings(5, 0)}
        return MethodSchedule(own(), InOrder(named=named), 6)

    trained = schedule()
    for step in range(1, 7):
        trained.at(step).rule.observe(step, 0.1 * step)
    again = schedule()
    again.restore(trained.state())
    assert again.state() == trained.state()
    assert again.at(6).rule.state()["entropies"] == pytest.approx([0.2, 0.5, 0.6])
    assert again.at(3).rule.state()["entropies"] == pytest.approx([0.3, 0.4])


class Counting(Clipped):
    """Remembers how often it was told of a step."""

    told = 0

    def observe(self, step: int, entropy: float, reward_mean: float) -> None:
        self.told += 1

    def state(self) -> RuleState:
        return {"told": self.told}

    def restore(self, state: RuleState) -> None:
        self.told = int(state["told"])  # type: ignore[arg-type]  # what `state` gave


def test_objectives_of_phases_each_have_a_memory_of_their_own_beside_that_of_the_rule() -> None:
    def schedule() -> MethodSchedule:
        named = {"a": PhaseSettings(1, 2), "b": PhaseSettings(3, 4, objective=Counting()), "c": PhaseSettings(5, 0)}
        return MethodSchedule(replace(own(), objective=Counting()), InOrder(named=named), 6)

    trained = schedule()
    for step in range(1, 7):
        trained.at(step).objective.observe(step, 0.1, 0.5)
        trained.at(step).rule.observe(step, 0.1 * step)
    again = schedule()
    again.restore(trained.state())
    assert again.state() == trained.state()
    assert [again.at(step).objective.state()["told"] for step in (1, 3, 5)] == [4, 2, 4]
    assert again.at(1).rule.state()["entropies"] == pytest.approx([0.4, 0.5, 0.6])


def test_one_phase_keeps_the_state_of_its_rule_as_it_is() -> None:
    method = own()
    schedule = MethodSchedule(method, OnePhase(), 3)
    method.rule.observe(1, 0.5)
    assert schedule.state() == method.rule.state() and schedule.at(3) is method
    assert MethodSchedule(StepMethod(GroupAdvantage(), Every(), Clipped(), OnePass()), OnePhase(), 3).state() == {}
