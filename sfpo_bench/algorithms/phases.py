"""Phases: the advantage, objective and update rule of each training step."""

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
    """Every step uses the method in `algorithm`."""

    kind: str = option("one", "name of the phases")

    changes = "every step uses the same advantage, objective and update rule"

    def at(self, step: int, own: StepMethod) -> StepMethod:
        return own


@dataclass
class PhaseSettings:
    """A range of training steps and the parts of the method that differ; omitted parts are those of `algorithm`."""

    first_step: int = option(1, "first training step of the phase", low=1)
    last_step: int = option(0, "last training step of the phase; 0: the last one of the run", low=0)
    advantage: Any = option(None, "advantage; empty: algorithm.advantage")
    selection: Any = option(None, "selection and weights of responses; empty: algorithm.selection")
    objective: Any = option(None, "objective; empty: algorithm.objective")
    update_rule: Any = option(None, "update rule; empty: algorithm.update_rule")
    learning_rate_factor: float = option(1.0, "factor on learner.learning_rate in the phase", above=0.0)

    def end(self, steps: int) -> int:
        """The last training step of the phase in a run of `steps`."""
        return self.last_step or steps

    def has(self, step: int) -> bool:
        """True for the training steps of the phase."""
        return self.first_step <= step and (not self.last_step or step <= self.last_step)

    def apply(self, own: StepMethod, place: str) -> StepMethod:
        """The method of the phase: its own parts, and those of `own` for the rest."""
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
    """A sequence of phases, each with the parts of the method that differ.

        named:
          grpo: {last_step: 30}
          gspo: {first_step: 31, objective: {kind: clipped, ratio: {kind: sequence}, clip_low: 3e-4, clip_high: 4e-4}}

    Weights, optimizer state and reference continue across phases. So does the update rule of `algorithm` in phases that
    omit it; a phase's own rule keeps its own state. With `round_steps` the phases cover a round of that many training
    steps and then repeat.
    """

    kind: str = option("in_order", "name of the phases")
    named: dict[str, Any] = option({}, "the phases by name: first_step, last_step and the parts that differ")
    round_steps: int = option(0, "training steps after which the phases repeat; 0: never", low=0)

    paper = "2505.19000"
    changes = "training goes through phases, each with its own objective, advantage or update rule"

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
    """Raise `ConfigError` for a phase outside the steps of its run or round; a phase without steps is valid."""
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
    """The method of each step of a run, and the state of its rules, objectives and selections.

    `used` are the distinct methods in order of use.
    """

    def __init__(self, own: StepMethod, phases: Phases, steps: int) -> None:
        self._own = own
        self._phases = phases
        self.used = tuple(_distinct([phases.at(step, own) for step in range(1, steps + 1)]))
        methods = (own, *self.used)
        # By the prefix of their keys in the state; the rule of `algorithm` has an empty prefix.
        self._stateful: dict[str, UpdateRule | Objective | Selection] = {
            **_named("rule", [method.rule for method in methods], bare_first=True),
            **_named("objective", [method.objective for method in methods]),
            **_named("selection", [method.selection for method in methods]),
        }

    def at(self, step: int) -> StepMethod:
        """The method of training step `step` (from 1)."""
        return self._phases.at(step, self._own)

    @property
    def needs(self) -> RuleNeeds:
        """The maximum needs over all steps."""
        needs = [method.rule.needs for method in self.used]
        return RuleNeeds(*(max(getattr(need, entry.name) for need in needs) for entry in fields(RuleNeeds)))

    @property
    def uses_reference(self) -> bool:
        """True when any step uses the reference."""
        return any(method.objective.uses_reference for method in self.used)

    def state(self) -> RuleState:
        """The state of all of them; the rule of `algorithm` has plain keys, the others have a prefix of name and
        number."""
        return {f"{prefix}{key}": value for prefix, one in self._stateful.items() for key, value in one.state().items()}

    def restore(self, state: RuleState) -> None:
        """Load a state that `state` returned; objects that are not in it keep their initial state."""
        own = dict(state)
        for prefix, one in reversed(self._stateful.items()):  # the empty prefix comes last and takes the rest
            part = {key.removeprefix(prefix): own.pop(key) for key in list(own) if key.startswith(prefix)}
            if part or not prefix:
                one.restore(part)


Stateful = TypeVar("Stateful")


def _named(name: str, each: Sequence[Stateful], *, bare_first: bool = False) -> dict[str, Stateful]:
    """Each distinct object by the prefix `name N: `; with `bare_first` the first one has an empty prefix."""
    distinct = {id(one): one for one in each}.values()
    return {"" if bare_first and n == 0 else f"{name} {n}: ": one for n, one in enumerate(distinct)}


def _distinct(methods: list[StepMethod]) -> Iterator[StepMethod]:
    """The methods without duplicates, compared by object identity of their parts."""
    seen: set[tuple[int, ...]] = set()
    for method in methods:
        parts = (id(method.advantage), id(method.selection), id(method.objective), id(method.rule))
        if parts not in seen:
            seen.add(parts)
            yield method
