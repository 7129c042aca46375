"""The protocols of an update: advantage, objective, update rule, learner, reference and phases."""

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
    """The effect of reposition on the optimizer state.

    `carry` leaves it as after the fast passes (released code), `restore` puts back the anchor's, `interpolate`
    interpolates it like the weights.
    """

    carry = "carry"
    restore = "restore"
    interpolate = "interpolate"


RuleState = Mapping[str, float | int | bool | list[float]]


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """The denominators of one optimizer step's loss, counted over the whole mini-batch."""

    responses: int
    tokens: int
    max_response_tokens: int


@dataclass(frozen=True, slots=True)
class LossInputs:
    """The inputs of an objective for some rows of a mini-batch; [B, T] tensors are padded, `mask_BT` marks valid
    tokens.

    `advantages_BT` is [B, 1] where all tokens of a response share one advantage. `old_log_probs_BT` are at the step's
    initial weights. `reference_log_probs_BT` is given if `uses_reference`, `entropies_BT` (differentiable) if
    `uses_entropy`. `block_lengths_B` is the mean response length of each row's block of the mini-batch, float64.
    `weights_BT`, given for the engine correction or a selection of tokens, multiplies only the policy-gradient term of
    each token. `row_weights_B`, given by a selection, multiplies all of a response's loss. `statistics` are the results
    of `Objective.statistics`. `scores` are the outputs of trained modules at the start of the step by name, [B, T],
    zero on padding. `groups_B` is each row's group; `rows_B` numbers the rows within the step's whole batch, for
    `by_row` and `of_rows`. `vocabulary` is the vocabulary size.
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
        """A table of `values`, [B] or [B, T], indexed by row number."""
        assert self.rows_B is not None
        table = values.new_zeros((int(self.rows_B.max()) + 1, *values.shape[1:]))
        table[self.rows_B] = values
        return table

    def of_rows(self, table: Tensor) -> Tensor:
        """The entries of a `by_row` table for these rows, cut to their width."""
        assert self.rows_B is not None
        found = table[self.rows_B]
        return found if found.ndim == 1 else found[:, : self.mask_BT.shape[1]]


@dataclass(frozen=True, slots=True)
class Loss:
    """The result of an objective for some rows.

    `value` is their share of the mini-batch loss: shares add up to it. `clipped_tokens` counts the tokens that lost
    their gradient by clipping.
    """

    value: Tensor
    clipped_tokens: Tensor


@dataclass(frozen=True, slots=True)
class Rewarded:
    """The inputs of an advantage: the step's whole batch, on every rank. Two groups of two responses:

        Rewarded(rewards_PG=tensor([[1.0, 0.0], [0.0, 0.0]]), lengths_PG=tensor([[5, 3], [8, 8]]))

    Rewards are float64; lengths count response tokens. Rows of [B, T] tensors and `trajectories` are the responses,
    group by group. No response is longer than `max_response_tokens`. `scores` are the outputs of each trained module by
    name, float64 [B, T], zero on padding; a token's score depends on its prefix only. `kept_PG`, bool, is given when a
    collector left responses out, which then must not enter any statistics.
    """

    rewards_PG: Tensor
    lengths_PG: Tensor
    trajectories: Sequence[Trajectory] = ()
    max_response_tokens: int = 0
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    kept_PG: Tensor | None = None

    @property
    def mask_BT(self) -> Tensor:
        """True on response tokens; T is the longest response."""
        lengths_B1 = self.lengths_PG.reshape(-1, 1)
        return lengths_B1.new_ones(len(lengths_B1), int(lengths_B1.max())).cumsum(dim=1) <= lengths_B1


class Advantage(Protocol):
    """Computes advantages from rewards, which it may shape first; a pure function without state.

    An advantage is a dataclass whose fields are its settings and whose `kind` is its name. Only `advantages` has no
    default:

        @dataclass
        class Centred(Advantage):
            kind: str = "centred"

            def advantages(self, rewarded):
                return rewarded.rewards_PG - rewarded.rewards_PG.mean()
    """

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for invalid settings, also with `group` responses per prompt; `key` is the advantage's
        key."""
        return None

    @property
    def modules(self) -> Sequence[str]:
        """The names of the modules whose scores it needs; a run without them is an error.

        `critic` also matches critic_1, critic_2 and so on.
        """
        return ()

    @property
    def applies_kept(self) -> bool:
        """True when it respects `Rewarded.kept_PG`; a collector that leaves responses out needs such an advantage."""
        return False

    @abstractmethod
    def advantages(self, rewarded: Rewarded) -> Tensor:
        """The advantages of responses, [P, G], or of response tokens, [B, T], zero on padding."""
        ...

    def returns(self, rewarded: Rewarded) -> Tensor:
        """The training targets of the token scores, [B, T], zero on padding; by default the response's reward."""
        return rewarded.rewards_PG.reshape(-1, 1) * rewarded.mask_BT


class Objective(Protocol):
    """Computes a loss from log-probs and advantages.

    An objective is a dataclass whose fields are its settings and whose `kind` is its name. State between steps goes
    through `observe`, `state` and `restore`, which checkpoints carry. Only `loss` has no default:

        @dataclass
        class Reinforce(Objective):
            kind: str = "reinforce"

            def loss(self, inputs):
                token_BT = -inputs.advantages_BT * inputs.log_probs_BT * inputs.mask_BT
                return Loss(token_BT.sum() / inputs.counts.tokens, clipped_tokens=inputs.mask_BT.new_zeros(()))
    """

    @property
    def uses_entropy(self) -> bool:
        """True when the loss needs differentiable token entropies."""
        return False

    @property
    def uses_reference(self) -> bool:
        """True when the loss needs log-probs under the reference (`Reference`)."""
        return False

    @property
    def needs_every_row(self) -> bool:
        """False when a row with zero advantage has neither loss nor gradient; its backward pass is then skipped."""
        return True

    @property
    def uses_statistics(self) -> bool:
        """True when the loss needs `statistics`.

        They cost a forward pass before each optimizer step and one at the start of the training step.
        """
        return False

    def statistics(self, mini_batch: LossInputs) -> Mapping[str, Tensor]:
        """The detached statistics of one optimizer step's whole mini-batch that the loss needs: bounds, masks, means.

        `mini_batch` holds every row of every rank at the weights before the optimizer step. Each `loss` reads the
        result from `LossInputs.statistics`, so neither micro-batches nor ranks change it.
        """
        return {}

    @property
    def applies_weights(self) -> bool:
        """True when the loss applies all weights in `LossInputs`; a run that needs weights requires it."""
        return False

    def check(self, key: str, group: int) -> None:
        """Raise `ConfigError` for invalid settings, also with `group` responses per prompt; `key` is the objective's
        key."""
        return None

    @property
    def least_modules(self) -> int:
        """The smallest number of trained modules whose scores it compares (`LossInputs.scores`)."""
        return 0

    @property
    def compares_rows(self) -> bool:
        """True when a response's loss depends on others of its group; no selection may then weight or drop some of
        them."""
        return False

    @abstractmethod
    def loss(self, inputs: LossInputs) -> Loss:
        """Return the rows' share of the loss of an optimizer step."""
        ...

    def observe(self, step: int, entropy: float, reward_mean: float) -> None:
        """Receive the entropy at the initial weights of the completed step, and its mean reward."""
        return None

    def state(self) -> RuleState:
        """The state for the checkpoint, as JSON values; empty for a stateless objective."""
        return {}

    def restore(self, state: RuleState) -> None:
        """Load a state that `state` returned."""
        return None


class Probe(Protocol):
    """Reads a fixed sample of the weights, the same on every rank."""

    def read(self) -> Tensor:
        """The sampled weights, flat."""
        ...

    def cosine(self, a: Tensor, b: Tensor) -> float | None:
        """The cosine of two differences of readings; None when either is zero."""
        ...


class Learner(Protocol[Batch]):
    """The operations through which an update rule moves the weights."""

    @property
    def probe(self) -> Probe:
        """The probe of the trained weights."""
        ...

    def optimize(self, batch: Batch, stage: str) -> StageStats:
        """Make one pass: an optimizer step on each mini-batch of `batch`, in order."""
        ...

    def mini_batches(self, batch: Batch) -> Sequence[Batch]:
        """The mini-batches of one pass, each the data of one optimizer step."""
        ...

    def snapshot(self, moments: Moments) -> None:
        """Copy the current weights to the anchor, which replaces an earlier one.

        The optimizer state is copied too, unless `moments` is `carry`.
        """
        ...

    def reposition(self, alpha: float | Elementwise, moments: Moments) -> None:
        """Set the weights to anchor + alpha * (weights - anchor), in place; exact at alpha = 0 and 1.

        The optimizer state changes as `moments` says. A function of the records returns a separate alpha for each
        element, which excludes `interpolate`; the records are then dropped.
        """
        ...

    def recording(
        self, name: str, quantity: StepQuantity = StepQuantity.clipped_gradient
    ) -> AbstractContextManager[None]:
        """Inside the block, sum `quantity` over optimizer steps under `name`.

        Each name costs one copy of the weights' size until the next reposition.
        """
        ...


@dataclass(frozen=True, slots=True)
class RuleNeeds:
    """The maximum needs of a rule.

    `passes` are over one batch; `copies` of the trained weights are in memory beside the weights, of which
    `copies_in_checkpoint` may be in a checkpoint; `state_copies` are copies of the optimizer state.

        OnePass    RuleNeeds()
        SFPO(K)    RuleNeeds(passes=K + 1, copies=1)
        Lookahead  RuleNeeds(copies=1, copies_in_checkpoint=1)
    """

    passes: int = 1
    copies: int = 0
    copies_in_checkpoint: int = 0
    state_copies: int = 0


class UpdateRule(Protocol):
    """Makes the optimizer passes over one batch of rollouts.

    A rule is a dataclass whose fields are its settings and whose `kind` is its name. State between steps goes through
    `state` and `restore`, which checkpoints carry. Only `update` has no default:

        @dataclass
        class Twice:
            kind: str = "twice"

            def update(self, learner, batch):
                return learner.optimize(batch, "first"), learner.optimize(batch, "second")
    """

    @property
    def needs(self) -> RuleNeeds:
        """The maximum needs of a step, for plans of memory and time."""
        return RuleNeeds()

    def check(self, key: str) -> None:
        """Raise `ConfigError` for contradictory settings; `key` is the rule's key."""
        return None

    @abstractmethod
    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        """Take one training step on `batch` and return the statistics of its passes in order."""
        ...

    def observe(self, step: int, entropy: float) -> bool:
        """Receive the entropy at the initial weights of the completed step; return True when a trigger fires."""
        return False

    def metrics(self, stages: Sequence[StageStats]) -> Mapping[str, float]:
        """Metrics of the completed step with the passes `stages`."""
        return {}

    def state(self) -> RuleState:
        """The state for the checkpoint, as JSON values; empty for a stateless rule."""
        return {}

    def restore(self, state: RuleState) -> None:
        """Load a state that `state` returned."""
        return None


class Reference(Protocol):
    """Weights that start as the policy's and may follow them: the KL reference, or a second model to sample from.

    A reference is a dataclass whose fields are its settings and whose `kind` is its name. The learner holds its
    weights, and checkpoints carry them if they move. Only `follow` has no default:

        @dataclass
        class Halfway(Reference):
            kind: str = "halfway"

            def follow(self, step):
                return 0.5 if step % 100 == 0 else 0.0
    """

    @property
    def moves(self) -> bool:
        """False when the reference keeps the initial weights of the run."""
        return True

    def check(self, key: str) -> None:
        """Raise `ConfigError` for contradictory settings; `key` is the reference's key."""
        return None

    @abstractmethod
    def follow(self, step: int) -> float:
        """Return a, from 0 to 1, in pi_ref <- a pi + (1 - a) pi_ref after training step `step`."""
        ...


@dataclass(frozen=True, slots=True)
class StepMethod:
    """The method of one training step:

        StepMethod(GroupAdvantage(), Every(), Clipped(), SlowFast())

    `place` is the key of these settings, for messages. `rate_factor` multiplies the policy's learning rate.
    """

    advantage: Advantage
    selection: Selection
    objective: Objective
    rule: UpdateRule
    place: str = "algorithm"
    rate_factor: float = 1.0


class Phases(Protocol):
    """Assigns advantage, selection, objective and update rule to training steps.

    A class of phases is a dataclass whose fields are its settings and whose `kind` is its name. `own` is the method in
    `algorithm`. `at` must return the same objects for any other parts at each call, since rules have state. Only `at`
    has no default:

        @dataclass
        class Polish(Phases):
            kind: str = "polish"
            first_step: int = 50

            def at(self, step, own):
                return replace(own, objective=POLISHING) if step >= self.first_step else own
    """

    def check(self, key: str, steps: int) -> None:
        """Raise `ConfigError` for phases that do not fit a run of `steps` training steps; `key` is their key."""
        return None

    @abstractmethod
    def at(self, step: int, own: StepMethod) -> StepMethod:
        """Return the method of training step `step` (from 1)."""
        ...
