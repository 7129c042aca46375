"""The seams of an update: what an objective, an update rule and a learner promise each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

from sfpo_bench.algorithms.recorded import Elementwise, StepQuantity
from sfpo_bench.algorithms.selections.protocol import Selection
from sfpo_bench.core.types import StageStats, Trajectory

if TYPE_CHECKING:
    from torch import Tensor

Batch = TypeVar("Batch")


class Moments(StrEnum):
    """What reposition does to the optimizer's moments: leave them as the fast passes left them (released code), put
    back those of the anchor, or interpolate them like the weights."""

    carry = "carry"
    restore = "restore"
    interpolate = "interpolate"


RuleState = Mapping[str, float | int | bool | list[float]]


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Denominators of one optimizer step's loss, counted over its whole mini-batch, never over a micro-batch."""

    responses: int
    tokens: int
    max_response_tokens: int


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What an objective sees of some rows of a mini-batch. [B, T] tensors are padded; `mask_BT` marks real tokens.

    `advantages_BT` is [B, 1] where all tokens of a response share their advantage, which broadcasts alike.
    `old_log_probs_BT` are at the weights the step started from. `reference_log_probs_BT` is present when the objective
    asks for it (`uses_reference`), `entropies_BT` carries a gradient when it asks for that (`uses_entropy`).
    `block_lengths_B` is the mean response length, float64, of the block of the mini-batch that a row belongs to.
    `weights_BT`, present when engine and trainer are corrected for their mismatch, multiplies the policy-gradient term
    of each token and nothing else. `statistics` are those that `Objective.statistics` made of the whole mini-batch.
    `row_weights_B`, present when a selection weights responses, multiplies all of a response's loss. `scores` has those
    that trained modules gave the tokens when the step began, by name, [B, T], zero on padding. Rows of one `groups_B`
    are compared with each other, `rows_B` numbers the rows within the step's whole batch, by which `of_rows` finds
    again what `statistics` made of them with `by_row`. `vocabulary` is how many tokens could be drawn.
    """

    log_probs_BT: Tensor
    old_log_probs_BT: Tensor
    advantages_BT: Tensor
    mask_BT: Tensor
    counts: BatchCounts
    reference_log_probs_BT: Tensor | None = None
    entropies_BT: Tensor | None = None
    block_lengths_B: Tensor | None = None
    weights_BT: Tensor | None = None
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    row_weights_B: Tensor | None = None
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    groups_B: Tensor | None = None
    rows_B: Tensor | None = None
    vocabulary: int = 0

    def by_row(self, values: Tensor) -> Tensor:
        """A table of `values`, [B] or [B, T], of these rows: what stands at a row's number is that row's."""
        assert self.rows_B is not None
        table = values.new_zeros((int(self.rows_B.max()) + 1, *values.shape[1:]))
        table[self.rows_B] = values
        return table

    def of_rows(self, table: Tensor) -> Tensor:
        """What such a table of the whole mini-batch has for these rows, as wide as they are."""
        assert self.rows_B is not None
        found = table[self.rows_B]
        return found if found.ndim == 1 else found[:, : self.mask_BT.shape[1]]


@dataclass(frozen=True, slots=True)
class Loss:
    """`value`: these rows' share of the mini-batch loss, so that shares add up to it. `clipped_tokens`: how many tokens
    the objective's clipping cut off from the gradient."""

    value: Tensor
    clipped_tokens: Tensor


@dataclass(frozen=True, slots=True)
class Rewarded:
    """What an advantage sees: the step's whole batch, on every rank. Two groups of two responses:

        Rewarded(rewards_PG=tensor([[1.0, 0.0], [0.0, 0.0]]), lengths_PG=tensor([[5, 3], [8, 8]]))

    Rewards are float64; lengths count response tokens. Rows of [B, T] tensors are the responses group by group, and so
    are `trajectories`, where they come from a step. No response is longer than `max_response_tokens`. `scores` has
    those of each trained module by its name, float64 [B, T], zero on padding: of a token, what the module says before
    it is drawn. `kept_PG`, bool, is present when a collector left some out: those have no part in any statistics.
    """

    rewards_PG: Tensor
    lengths_PG: Tensor
    trajectories: Sequence[Trajectory] = ()
    max_response_tokens: int = 0
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    kept_PG: Tensor | None = None

    @property
    def mask_BT(self) -> Tensor:
        """True on real response tokens, T of the longest response."""
        lengths_B1 = self.lengths_PG.reshape(-1, 1)
        return lengths_B1.new_ones(len(lengths_B1), int(lengths_B1.max())).cumsum(dim=1) <= lengths_B1


class Advantage(Protocol):
    """Rewards to advantages. Pure: no state, no input or output; it may shape rewards first.

    An advantage is a dataclass whose fields are its settings and whose `kind` names it. What it inherits here has a
    default; only `advantages` has none:

        @dataclass
        class Centred(Advantage):
            kind: str = "centred"

            def advantages(self, rewarded):
                return rewarded.rewards_PG - rewarded.rewards_PG.mean()
    """

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for settings that cannot work, alone or with `group` responses to a prompt; `key` is
        where the advantage sits."""
        return None

    @property
    def modules(self) -> Sequence[str]:
        """The modules whose scores it needs, by name; a run that trains none of that name is refused. `critic` is also
        the name of critic_1, critic_2 and so on."""
        return ()

    @property
    def applies_kept(self) -> bool:
        """True when it leaves out what `Rewarded.kept_PG` leaves out; without it a run whose collector leaves responses
        out is refused."""
        return False

    @abstractmethod
    def advantages(self, rewarded: Rewarded) -> Tensor:
        """Of each response, [P, G], or of each response token, [B, T], zero on padding."""
        ...

    def returns(self, rewarded: Rewarded) -> Tensor:
        """What the scores of each response token are trained towards, [B, T], zero on padding: the reward that is still
        to come, which is the response's."""
        return rewarded.rewards_PG.reshape(-1, 1) * rewarded.mask_BT


class Objective(Protocol):
    """Log-probs and advantages to a loss. Without input or output; what it remembers from step to step goes through
    `observe`, `state` and `restore`, which a checkpoint carries.

    An objective is a dataclass whose fields are its settings and whose `kind` names it. What it inherits here has a
    default; only `loss` has none:

        @dataclass
        class Reinforce(Objective):
            kind: str = "reinforce"

            def loss(self, inputs):
                token_BT = -inputs.advantages_BT * inputs.log_probs_BT * inputs.mask_BT
                return Loss(token_BT.sum() / inputs.counts.tokens, clipped_tokens=inputs.mask_BT.new_zeros(()))
    """

    @property
    def uses_entropy(self) -> bool:
        """True when the loss needs token entropies with a gradient."""
        return False

    @property
    def uses_reference(self) -> bool:
        """True when the loss needs log-probs under the reference (`Reference`)."""
        return False

    @property
    def needs_every_row(self) -> bool:
        """False when a row with zero advantage contributes neither loss nor gradient, so that it may be skipped."""
        return True

    @property
    def uses_statistics(self) -> bool:
        """True when the loss needs `statistics`, which costs a forward pass before each optimizer step and one at the
        start of the training step."""
        return False

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """What the loss must know of the whole mini-batch of one optimizer step: bounds, masks, means, detached.

        `mini_batch` holds every row of every rank, at the weights before the step; each `loss` of its micro-batches
        then finds the result in `LossInputs.statistics`. So neither micro-batches nor ranks change it.
        """
        return {}

    @property
    def applies_weights(self) -> bool:
        """True when the loss applies every weight that `LossInputs` may carry; without it a run that needs one is
        refused."""
        return False

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for settings that cannot work, alone or with `group` responses to a prompt; `key` is
        where the objective sits."""
        return None

    @property
    def least_modules(self) -> int:
        """How many trained modules it compares the scores of, at least (`LossInputs.scores`)."""
        return 0

    @property
    def compares_rows(self) -> bool:
        """True when the loss of a response depends on others of its group, so that no selection may weight or drop
        some of them."""
        return False

    @abstractmethod
    def loss(self, inputs: LossInputs) -> Loss:
        """The rows' share of the loss that an optimizer step minimises."""
        ...

    def observe(self, step: int, entropy: float, reward_mean: float) -> None:
        """After step `step`, be told the entropy at the weights it started from and the mean reward of its
        responses."""
        return None

    def state(self) -> RuleState:
        """What must survive a kill, as plain JSON values; empty for an objective without memory."""
        return {}

    def restore(self, state: RuleState) -> None:
        """Take up a state that `state` returned."""
        return None


class Probe(Protocol):
    """Measures where the weights are, on a fixed sample of them that every rank agrees on."""

    def read(self) -> Tensor:
        """The sampled weights as they are now, flat."""
        ...

    def cosine(self, a: Tensor, b: Tensor) -> float | None:
        """Cosine between two differences of readings; None when either is zero."""
        ...


class Learner(Protocol[Batch]):
    """The verbs, the split into mini-batches, and the probe, through which an update rule moves the weights."""

    @property
    def probe(self) -> Probe:
        """Measures the weights that the verbs move."""
        ...

    def optimize(self, batch: Batch, stage: str) -> StageStats:
        """One pass: an optimizer step on each mini-batch of `batch`, in order."""
        ...

    def mini_batches(self, batch: Batch) -> Sequence[Batch]:
        """The mini-batches of one pass, each the data of one optimizer step."""
        ...

    def snapshot(self, moments: Moments) -> None:
        """Remember the present weights as the anchor: one extra copy, overwritten by the next snapshot. The optimizer's
        state is copied too unless its moments are to be carried."""
        ...

    def reposition(self, alpha: float | Elementwise, moments: Moments) -> None:
        """Weights become anchor + alpha * (weights - anchor), in place; exact at alpha = 0 and 1. The optimizer's
        moments are carried, put back or interpolated. A function of what was recorded gives each element an alpha of
        its own, from which moments cannot be interpolated; the records end with it."""
        ...

    def recording(
        self, name: str, quantity: StepQuantity = StepQuantity.clipped_gradient
    ) -> AbstractContextManager[None]:
        """Inside, what is recorded of optimizer steps is added up under `name`: one copy of the weights' size for each
        name, until the next reposition."""
        ...


@dataclass(frozen=True, slots=True)
class RuleNeeds:
    """What a rule takes at most: passes over one batch, copies of the trained weights in memory beside the weights
    themselves, how many of those copies a checkpoint may have to carry, and copies of the optimizer's state.

        OnePass    RuleNeeds()
        SFPO(K)    RuleNeeds(passes=K + 1, copies=1)
        Lookahead  RuleNeeds(copies=1, copies_in_checkpoint=1)
    """

    passes: int = 1
    copies: int = 0
    copies_in_checkpoint: int = 0
    state_copies: int = 0


class UpdateRule(Protocol):
    """Drives optimizer passes over ONE batch of rollouts.

    A rule is a dataclass whose fields are its settings and whose `kind` names it; what it remembers from step to step
    goes through `state` and `restore`, which a checkpoint carries. Only `update` has no default:

        @dataclass
        class Twice:
            kind: str = "twice"

            def update(self, learner, batch):
                return learner.optimize(batch, "first"), learner.optimize(batch, "second")
    """

    @property
    def needs(self) -> RuleNeeds:
        """The most that a step of this rule takes; plans of memory and time are made from it."""
        return RuleNeeds()

    def check(self, key: str) -> None:
        """Raise `ConfigError` for settings that contradict each other; `key` is where the rule sits."""
        return None

    @abstractmethod
    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        """Take one training step on `batch`; returns the statistics of its passes in order."""
        ...

    def observe(self, step: int, entropy: float) -> bool:
        """After step `step`, be told the entropy at the weights it started from; True when a trigger fired now."""
        return False

    def metrics(self, stages: Sequence[StageStats]) -> Mapping[str, float]:
        """Scalars of the rule to record with the step just taken, whose passes were `stages`."""
        return {}

    def state(self) -> RuleState:
        """What must survive a kill, as plain JSON values; empty for a rule without memory."""
        return {}

    def restore(self, state: RuleState) -> None:
        """Take up a state that `state` returned."""
        return None


class Reference(Protocol):
    """What KL is measured against, or sampled from beside the policy: weights that begin where the run does and may
    follow the policy's.

    A reference is a dataclass whose fields are its settings and whose `kind` names it; the learner holds its weights,
    and checkpoints carry them if they move. Only `follow` has no default:

        @dataclass
        class Halfway(Reference):
            kind: str = "halfway"

            def follow(self, step):
                return 0.5 if step % 100 == 0 else 0.0
    """

    @property
    def moves(self) -> bool:
        """False when the reference stays at the weights that the run started from."""
        return True

    def check(self, key: str) -> None:
        """Raise `ConfigError` for settings that contradict each other; `key` is where the reference sits."""
        return None

    @abstractmethod
    def follow(self, step: int) -> float:
        """The a, from 0 to 1, of pi_ref <- a pi + (1 - a) pi_ref after training step `step`."""
        ...


@dataclass(frozen=True, slots=True)
class StepMethod:
    """What one training step uses:

        StepMethod(GroupAdvantage(), Every(), Clipped(), SlowFast())

    `place` is the key below which these settings stand, for messages. `rate_factor` multiplies the policy's learning
    rate.
    """

    advantage: Advantage
    selection: Selection
    objective: Objective
    rule: UpdateRule
    place: str = "algorithm"
    rate_factor: float = 1.0


class Phases(Protocol):
    """Which advantage, selection, objective and update rule a training step has.

    A class of phases is a dataclass whose fields are its settings and whose `kind` names it. `own` is what stands in
    `algorithm`; whatever else a step uses must be the same object every time, since a rule remembers. Only `at` has no
    default:

        @dataclass
        class Polish(Phases):
            kind: str = "polish"
            first_step: int = 50

            def at(self, step, own):
                return replace(own, objective=POLISHING) if step >= self.first_step else own
    """

    def check(self, key: str, steps: int) -> None:
        """Raise `ConfigError` for phases that cannot work in a run of `steps` training steps; `key` is where they
        sit."""
        return None

    @abstractmethod
    def at(self, step: int, own: StepMethod) -> StepMethod:
        """What training step `step`, from 1, uses."""
        ...
