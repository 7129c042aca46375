"""The collector interface: rollout source, collected trajectories and the protocol."""

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

# The state of a collector, as JSON values.
Plain = float | int | bool | str | None | Sequence["Plain"] | Mapping[str, "Plain"]
CollectorState = Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class Collected:
    """The trajectories of a training step, in groups of equal size; those of a group are adjacent.

        Collected(tuple(source.roll_out(source.problems)), {"sampling_rounds": 1.0})

    `metrics` are recorded with the step. Trajectories with stored advantages (replay) do not count towards group sizes:
    they belong to a group only to spread them over mini-batches, and are not compared with other responses.
    """

    trajectories: Sequence[Trajectory]
    metrics: Mapping[str, float] = field(default_factory=dict)


class RolloutSource(Protocol):
    """The source of samples and grades for a collector, for one training step with the current weights.

    Every rank makes the same calls with the same arguments and receives all results; the work is divided among the
    ranks. All samples count as costs, trained on or not. Responses that cannot be graded count towards the limit of
    grading failures.
    """

    @property
    def problems(self) -> Sequence[Problem]:
        """The problems of the step, in order; a function of seed and step."""
        ...

    @property
    def group(self) -> int:
        """The number of responses to each problem (`rollout.group`)."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """The token limit of a response (`rollout.max_new_tokens`)."""
        ...

    def draws(self, name: str) -> Generator:
        """The named random generator of this step, the same on every rank."""
        ...

    def further(self, number: int) -> Sequence[Problem]:
        """The problems of round `number` (from 2), as many as `problems`; a function of seed, step and number.

        Problems of earlier rounds of the step come again only when the training set has no others.
        """
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
        """Sample `samples` responses (default `group`) to each problem; those to a problem are adjacent.

        No two responses of a step share noise. `after` holds token ids with which the responses to each problem start.
        They are at the end of a completion's `prompt_ids`; its `response_ids` follow them, and its text is that of the
        whole response. A problem counts once per scheduling in the costs, and a continued response once.
        `max_new_tokens` can only lower the run's limit. With `follower` the weights of `Collector.follower` are
        sampled.
        """
        ...

    def solutions(self, problems: Sequence[Problem]) -> list[Completion]:
        """The tokenized reference solution of each problem, with its end token.

        Nothing is sampled and no cost counted. Available only where the collector `uses_solutions`.
        """
        ...

    def entropies(self, completions: Sequence[Completion]) -> list[float]:
        """The policy's mean token entropy of each response, in nats, at the rollout temperature, by a forward pass."""
        ...

    def grade(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Grade]:
        """The task's grade of each completion of the problem at the same index."""
        ...

    def roll_out(self, problems: Sequence[Problem]) -> list[Trajectory]:
        """Sample and grade `group` responses to each problem; each problem is one group, numbered from 0."""
        ...


class Collector(Protocol):
    """Samples and grades the trajectories of a step.

    A collector is a dataclass whose fields are its settings and whose `kind` is its name. State between steps goes
    through `state` and `restore`, which checkpoints carry. Only `collect` has no default:

        @dataclass
        class Twice(Collector):
            kind: str = "twice"

            def collect(self, source):
                first, second = source.roll_out(source.problems), source.roll_out(source.further(2))
                again = [replace(one, group=one.group + len(source.problems)) for one in second]
                return Collected([*first, *again])

    How to implement other methods, each as one such class:

        dynamic sampling     rounds of `roll_out(further(n))`; return some of their groups (dynamic_sampling.py)
        majority labels      `respond`, then `replace(grade, reward=...)` by the group's majority answer (m_grpo.py)
        reference solutions  `respond`, then one trajectory per group from `solutions`; the old log-probs are the
                             trainer's, so the engine's are not needed (temp_samp.py)
        trees                `respond` for a segment, `respond(after=...)` for its branches, `grade` for the leaves;
                             `Trajectory.parent` and `loss_from` mark shared tokens, whose loss counts once
                             (branches.py)
        replay               trajectories of earlier steps, kept in `state`, added to those of `roll_out`, with the
                             advantages that `observe` received and the log-probs under which they were sampled
    """

    @property
    def most_rounds(self) -> int:
        """The largest number of rounds of problems sampled in one step; used by plans."""
        return 1

    @property
    def whole_responses(self) -> bool:
        """False when a group may hold partial responses or responses of earlier steps.

        No objective can then compare the responses of a group.
        """
        return True

    @property
    def follower(self) -> Reference | None:
        """How a second set of weights, which `respond` can sample, follows the policy after each step; None: there is
        none."""
        return None

    @property
    def uses_solutions(self) -> bool:
        """True when reference solutions are trained on.

        Every training problem must then have one. Since no policy sampled them, a batch may be used for one optimizer
        step only.
        """
        return False

    @property
    def leaves_out(self) -> bool:
        """True when trajectories may be `left_out`; the advantage and objective must support that."""
        return False

    def trained(self, group: int) -> int:
        """The number of responses per group that are trained on, when `group` are sampled per problem."""
        return group

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for invalid settings, also with `group` responses per prompt; `key` is the collector's
        key."""
        return None

    @abstractmethod
    def collect(self, source: RolloutSource) -> Collected:
        """Return the trajectories of one training step."""
        ...

    def observe(self, trajectories: Sequence[Trajectory], advantages_BT: Tensor) -> None:
        """Receive the advantages, [B, 1] or [B, T], of the collected `trajectories` that had none stored."""
        return None

    def state(self) -> CollectorState:
        """The state for the checkpoint, as JSON values; empty for a stateless collector."""
        return {}

    def restore(self, state: CollectorState) -> None:
        """Load a state that `state` returned."""
        return None
