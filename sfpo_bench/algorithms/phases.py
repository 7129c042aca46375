"""Phases: which advantage, objective and update rule a training step has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Objective, Phases, RuleNeeds, RuleState, StepMethod, UpdateRule
from sfpo_bench.algorithms.selections.protocol import Selection
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option


@dataclass
class OnePhase(Facts, Phases):
    """Every step uses what stands in `algorithm`."""

    kind: str = option("one", "name of the phases")

    changes = "every step uses the same advantage, objective and update rule"

    def at(self, step: int, own: StepMethod) -> StepMethod:
        return own


@dataclass
class PhaseSettings:
    """A run of training steps and what differs in them; a part that is left out is that of `algorithm`."""

    first_step: int = option(1, "first training step of the phase", low=1)
    last_step: int = option(0, "last training step of the phase; 0: the last one of the run", low=0)
    advantage: Any = option(None, "from rewards to advantages; empty: algorithm.advantage")
    selection: Any = option(None, "which responses are trained on, with what weight; empty: algorithm.selection")
    objective: Any = option(None, "what an optimizer step minimises; empty: algorithm.objective")
    update_rule: Any = option(None, "what is done with one batch of rollouts; empty: algorithm.update_rule")
    learning_rate_factor: float = option(1.0, "factor on learner.learning_rate in the phase", above=0.0)

    def end(self, steps: int) -> int:
        """The last training step in a run of `steps`."""
        return self.last_step or steps

    def has(self, step: int) -> bool:
        """True for the training steps of the phase."""
        return self.first_step <= step and (not self.last_step or step <= self.last_step)

    def apply(self, own: StepMethod, place: str) -> StepMethod:
        """What its steps use: its own parts, and those of `own` for the rest."""
        return StepMethod(
            advantage=own.advantage if self.advantage is None else self.advantage,
            selection=own.selection if self.selection is None else self.selection,
            objective=own.objective if self.objective is None else self.objective,
            rule=own.rule if self.update_rule is None else self.update_rule,
            place=place,
            rate_factor=self.learning_rate_factor,
        )


@dataclass
class InOrder(Facts, Phases):
    """One phase after another, each with what differs in it.

        named:
          grpo: {last_step: 30}
          gspo: {first_step: 31, objective: {kind: clipped, ratio: {kind: sequence}, clip_low: 3e-4, clip_high: 4e-4}}

    Weights, optimizer state and the reference go on from phase to phase. So does the update rule of `algorithm` in the
    phases that leave it out; a rule of a phase's own remembers nothing of the others. With `round_steps` the phases are
    those of a round of so many training steps, and begin again after it.
    """

    kind: str = option("in_order", "name of the phases")
    named: dict[str, Any] = option({}, "the phases, by name: first_step, last_step and what differs")
    round_steps: int = option(0, "training steps after which the phases begin again; 0: never", low=0)

    paper = "2505.19000"
    changes = "training goes through phases, each with an objective, an advantage or an update rule of its own"

    @property
    def phases(self) -> Mapping[str, PhaseSettings]:
        """The phases by name."""
        return self.named

    def at(self, step: int, own: StepMethod) -> StepMethod:
        step = (step - 1) % self.round_steps + 1 if self.round_steps else step
        name = next(name for name, phase in self.phases.items() if phase.has(step))
        return self.phases[name].apply(own, f"algorithm.phases.named.{name}")

    def check(self, key: str, steps: int) -> None:
        if not self.named:
            raise ConfigError(
                f"{key}.named names no phase; expected some, such as {key}.named.first.last_step=30 and "
                f"{key}.named.second.first_step=31, or one phase with {key.replace('.', '/')}=one"
            )
        for name in self.named:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ConfigError(f"{key}.named has the key {name!r}; expected letters, digits, - and _")
        limit = f"{key}.round_steps" if self.round_steps else "training.steps"
        steps = self.round_steps or steps
        expected, before = 1, ""
        for name, phase in sorted(self.phases.items(), key=lambda item: (item[1].first_step, item[1].end(steps))):
            _check_phase(f"{key}.named.{name}", phase, steps, limit)
            if phase.first_step < expected:
                raise ConfigError(
                    f"{key}.named: phases {before} and {name} overlap: {name} begins with step {phase.first_step}, "
                    f"{before} ends with step {expected - 1}; expected {key}.named.{name}.first_step={expected}"
                )
            if phase.first_step > expected:
                raise _uncovered(key, expected, phase.first_step - 1)
            expected, before = phase.end(steps) + 1, name
        if expected <= steps:
            raise _uncovered(key, expected, steps)


def _check_phase(key: str, phase: PhaseSettings, steps: int, limit: str) -> None:
    """Raise `ConfigError` for a phase that is not within the steps of its run or round, which `limit` sets; one without
    steps is."""
    if max(phase.first_step - 1, phase.last_step) > steps:
        raise ConfigError(
            f"{key} has steps {phase.first_step} to {phase.end(steps)}, but {limit} = {steps}; expected steps among "
            f"them: move the phase, or raise {limit}"
        )
    if phase.end(steps) < phase.first_step - 1:
        raise ConfigError(
            f"{key} ends with step {phase.end(steps)} before it begins with step {phase.first_step}; expected "
            f"last_step={phase.first_step} or later, {phase.first_step - 1} for no step at all, or 0 for the run's end"
        )


def _uncovered(key: str, first: int, last: int) -> ConfigError:
    return ConfigError(
        f"{key}.named: no phase has steps {first} to {last}; expected every training step in one phase: add one, or "
        "move first_step and last_step of its neighbours"
    )


class MethodSchedule:
    """What each step of one run uses, and what its rules, objectives and selections remember; `used` are the methods in
    their order."""

    def __init__(self, own: StepMethod, phases: Phases, steps: int) -> None:
        self._own = own
        self._phases = phases
        self.used = tuple(_distinct([phases.at(step, own) for step in range(1, steps + 1)]))
        methods = (own, *self.used)
        # By the name before the keys of each one's memory; the rule of `algorithm` has none.
        self._memories: dict[str, UpdateRule | Objective | Selection] = {
            **_named("rule", [method.rule for method in methods], bare_first=True),
            **_named("objective", [method.objective for method in methods]),
            **_named("selection", [method.selection for method in methods]),
        }

    def at(self, step: int) -> StepMethod:
        """What training step `step`, from 1, uses."""
        return self._phases.at(step, self._own)

    @property
    def needs(self) -> RuleNeeds:
        """The most that a step takes."""
        needs = [method.rule.needs for method in self.used]
        return RuleNeeds(*(max(getattr(need, entry.name) for need in needs) for entry in fields(RuleNeeds)))

    @property
    def uses_reference(self) -> bool:
        """True when a step measures a KL."""
        return any(method.objective.uses_reference for method in self.used)

    def state(self) -> RuleState:
        """What they remember: the rule of `algorithm` under its own keys, others with their name and number before
        theirs."""
        return {f"{prefix}{key}": value for prefix, one in self._memories.items() for key, value in one.state().items()}

    def restore(self, state: RuleState) -> None:
        """Take up a state that `state` returned; one that was not there then begins anew."""
        own = dict(state)
        for prefix, one in reversed(self._memories.items()):  # last the one without a prefix, whose is what is left
            part = {key.removeprefix(prefix): own.pop(key) for key in list(own) if key.startswith(prefix)}
            if part or not prefix:
                one.restore(part)


Remembering = TypeVar("Remembering")


def _named(name: str, each: Sequence[Remembering], *, bare_first: bool = False) -> dict[str, Remembering]:
    """Each object once by `name`, its number and a colon; the first one by an empty text where that is wanted."""
    distinct = {id(one): one for one in each}.values()
    return {"" if bare_first and n == 0 else f"{name} {n}: ": one for n, one in enumerate(distinct)}


def _distinct(methods: list[StepMethod]) -> Iterator[StepMethod]:
    """The methods, each once: equal settings are two methods where they are two objects."""
    seen: set[tuple[int, ...]] = set()
    for method in methods:
        parts = (id(method.advantage), id(method.selection), id(method.objective), id(method.rule))
        if parts not in seen:
            seen.add(parts)
            yield method
