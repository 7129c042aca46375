"""The seam of rollouts: what a collector is given, what it returns, and what it may ask for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sfpo_bench.core.types import Completion, Grade, Problem, Trajectory

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from sfpo_bench.algorithms.protocols import Reference

# What a collector remembers: values that JSON has.
Plain = float | int | bool | str | None | Sequence["Plain"] | Mapping[str, "Plain"]
CollectorState = Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class Collected:
    """What a training step is taken on: groups of equal size, the trajectories of one beside each other.

        Collected(tuple(source.roll_out(source.problems)), {"sampling_rounds": 1.0})

    `metrics` are scalars to record with the step. Trajectories that bring their advantages count in no size: they stand
    in a group so that mini-batches have their part of them, and no other one is compared with them.
    """

    trajectories: Sequence[Trajectory]
    metrics: Mapping[str, float] = field(default_factory=dict)


class RolloutSource(Protocol):
    """Through which a collector samples, for one training step, with the policy's present weights.

    Every rank calls the same verbs with the same arguments and is given all of the results; a verb divides its work
    among them. What is sampled counts as spent whether it is trained on or not, and what cannot be graded counts
    towards the bound at which the run stops.
    """

    @property
    def problems(self) -> Sequence[Problem]:
        """The problems of the step, in order: a function of seed and step."""
        ...

    @property
    def group(self) -> int:
        """Responses to each problem (`rollout.group`)."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """The token limit of a response (`rollout.max_new_tokens`)."""
        ...

    def draws(self, name: str) -> Generator:
        """A generator of the step's own of that name, the same on every rank."""
        ...

    def further(self, number: int) -> Sequence[Problem]:
        """The problems of round `number`, from 2, as many as `problems`: a function of seed, step and number. None is
        one of an earlier round of the step as long as the training set has others."""
        ...

    def respond(
        self,
        problems: Sequence[Problem],
        samples: int | None = None,
        after: Sequence[Sequence[int]] | None = None,
        max_new_tokens: int | None = None,
        *,
        follower: bool = False,
    ) -> list[Completion]:
        """`samples` responses (`group`) to each problem, beside each other; no two responses of a step share noise.

        `after` has token ids for each problem, with which its responses begin: they are at the end of a completion's
        `prompt_ids`, its ids are what follows them, its text that of the whole response. A problem counts as spent once
        each time that the schedule gives it, a response that goes on as several as so many. `max_new_tokens` is at most
        what the run allows. With `follower` they are drawn from the weights of `Collector.follower` in place of the
        policy's.
        """
        ...

    def solutions(self, problems: Sequence[Problem]) -> list[Completion]:
        """The reference solution of each problem, as the model's tokenizer writes it, with its end; nothing is sampled
        and nothing spent. Only where the collector `uses_solutions`."""
        ...

    def entropies(self, completions: Sequence[Completion]) -> list[float]:
        """The policy's mean token entropy of each response, in nats, at the temperature of rollouts: a forward pass
        over them."""
        ...

    def grade(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        """The task's grade of each completion of the problem at the same place."""
        ...

    def roll_out(self, problems: Sequence[Problem]) -> list[Trajectory]:
        """`group` graded responses to each problem, each problem a group of its own, numbered from 0."""
        ...


class Collector(Protocol):
    """From the problems of a step to graded trajectories.

    A collector is a dataclass whose fields are its settings and whose `kind` names it; what it remembers from step to
    step goes through `state` and `restore`, which a checkpoint carries. Only `collect` has no default:

        @dataclass
        class Twice(Collector):
            kind: str = "twice"

            def collect(self, source):
                first, second = source.roll_out(source.problems), source.roll_out(source.further(2))
                again = [replace(one, group=one.group + len(source.problems)) for one in second]
                return Collected([*first, *again])

    How methods that are not here enter, each as one such class:

        dynamic sampling     rounds of `roll_out(further(n))`, some of whose groups are returned (dynamic_sampling.py)
        majority labels      `respond`, then `replace(grade, reward=...)` by the answer of most of a group (m_grpo.py)
        reference solutions  `respond`, then one trajectory a group from `solutions`: the log-probs before the update
                             are the trainer's own, so the engine's are not needed (temp_samp.py)
        trees                `respond` for a segment, `respond(after=...)` for its branches, `grade` for the leaves;
                             `Trajectory.parent` and `loss_from` say what belongs to a parent and bears no loss twice
                             (branches.py)
        replay               trajectories of earlier steps, kept in `state`, beside those of `roll_out`, with the
                             advantages that `observe` told of them and the log-probs that they were sampled with
    """

    @property
    def most_rounds(self) -> int:
        """How often, at most, as many problems as a step has are sampled in one step; for plans."""
        return 1

    @property
    def whole_responses(self) -> bool:
        """False when a group may hold parts of responses, or some of an earlier step: then no objective can compare the
        responses of a group."""
        return True

    @property
    def follower(self) -> Reference | None:
        """How a second set of weights, from which `respond` can draw, follows the policy's after each training step;
        None: there is none."""
        return None

    @property
    def uses_solutions(self) -> bool:
        """True when reference solutions are trained on. Every training problem must then have one; and since no policy
        sampled them, a batch must be used for one optimizer step alone."""
        return False

    @property
    def leaves_out(self) -> bool:
        """True when trajectories may be `left_out`; advantage and objective must be able to."""
        return False

    def trained(self, group: int) -> int:
        """Responses of a group that a step is taken on, where `group` are sampled to each problem."""
        return group

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for settings that cannot work, alone or with `group` responses to a prompt; `key` is
        where the collector sits."""
        return None

    @abstractmethod
    def collect(self, source: RolloutSource) -> Collected:
        """The trajectories of one training step."""
        ...

    def observe(self, trajectories: Sequence[Trajectory], advantages_BT: Tensor) -> None:
        """Be told the advantages that the step made of `trajectories`, those just collected that brought none: [B, 1],
        or of each token, [B, T]."""
        return None

    def state(self) -> CollectorState:
        """What must survive a kill, as plain JSON values; empty for a collector without memory."""
        return {}

    def restore(self, state: CollectorState) -> None:
        """Take up a state that `state` returned."""
        return None
