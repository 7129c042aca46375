"""The learner: turns one batch of rollouts into optimizer steps, on one device or sharded over ranks.

begin_step(step, batch)     learning rate; old log-probs where they need a separate forward pass
optimize(batch, stage)      one pass: for each mini-batch, gradients over its micro-batches, clip, step
snapshot / reposition       the anchor of SFPO, on the fp32 masters
end_step()                  entropy at the start, displacement, seconds
probe                       a sample of the weights, for rules that measure their movement
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from sfpo_bench.algorithms.correction import PERFECT_MATCH, Correction, Mismatch
from sfpo_bench.algorithms.protocols import BatchCounts, LossInputs, Moments, Objective, Reference
from sfpo_bench.algorithms.recorded import Elementwise, StepQuantity
from sfpo_bench.algorithms.references import StartReference
from sfpo_bench.core.errors import NonFiniteError
from sfpo_bench.core.types import Completion, StageStats
from sfpo_bench.settings.training import LearnerSettings, NonFinite, OptimizerKind
from sfpo_bench.training.batch import TrainBatch, assemble, micro_batches
from sfpo_bench.training.checkpoint import ReadPart
from sfpo_bench.training.layout import PlacedBatch, micro_batches_of_rank, placed, to_device
from sfpo_bench.training.master_weights import MasterWeights
from sfpo_bench.training.pass_totals import PassTotals
from sfpo_bench.training.placed_scorer import PlacedScorer
from sfpo_bench.training.probe import WeightProbe
from sfpo_bench.training.ranks import ALONE, Ranks, with_dummies
from sfpo_bench.training.reference import CopyOfPolicy, EarlierModel, ReferenceModel, SampledModel, frozen_copy
from sfpo_bench.training.scoring import Scores
from sfpo_bench.training.step_scores import StepScores


@dataclass(slots=True)
class StepReadings:
    """Measurements of one completed training step.

    `entropy` is the mean token entropy over the whole batch at the step's initial weights, in nats. `mismatch` compares
    the log-probs at those weights with the engine's.
    """

    learning_rate: float
    entropy: float = math.nan
    mismatch: Mismatch = PERFECT_MATCH
    displacement: float = 0.0
    old_log_prob_seconds: float = 0.0
    reposition_seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """The readings, keyed as in the journal."""
        return {
            "entropy": self.entropy,
            "engine_ratio_mean": self.mismatch.ratio_mean,
            "engine_ratio_max": self.mismatch.ratio_max,
            "engine_effective_sample_share": self.mismatch.effective_sample_share,
            "displacement": self.displacement,
            "learning_rate": self.learning_rate,
            "old_log_prob_seconds": self.old_log_prob_seconds,
            "reposition_seconds": self.reposition_seconds,
        }


class LocalLearner:
    """Policy, objective and optimizer of this rank.

    Every rank gets the whole batch and computes some of its rows; statistics cover all rows. Rows with zero advantage
    run forward only where the objective allows it, which saves time and changes no result. Micro-batches and ranks do
    not change the result either: every denominator counts the whole mini-batch.

    The learner holds a KL reference model where `objective` uses one, or where `reference` is given for a later
    objective. It holds a second model to sample from where `follower` is given, and a copy of the policy of
    `stale_steps` training steps ago.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        objective: Objective,
        settings: LearnerSettings,
        temperature: float,
        ranks: Ranks = ALONE,
        reference: Reference | None = None,
        follower: Reference | None = None,
        stale_steps: int = 0,
    ) -> None:
        model.eval()
        self._ranks = ranks
        self._objective = objective
        self._settings = settings
        self._mini_batch_groups = settings.mini_batch_prompts
        self._block_lengths_B = torch.empty(0)
        rule = reference or (StartReference() if objective.uses_reference else None)
        wanted = {"reference": rule is not None, "follower": follower is not None, "earlier": stale_steps > 0}
        # Copied before the scorer places the weights, which shards them over several ranks.
        frozen = {part: frozen_copy(model) for part, is_wanted in wanted.items() if is_wanted}
        self._log_prob_format = torch.float64 if model.dtype == torch.float64 else torch.float32
        self._scorer = PlacedScorer(model, temperature, ranks, recompute=settings.recompute_layers)
        self.placed = self._scorer.placed
        self._device = self.placed.device
        self.masters = MasterWeights(
            model, lambda weights: make_optimizer(weights, settings), anchor_on_host=settings.anchor_on_host
        )
        self._scorer.lead_head(self.masters.leaf)
        masters = self.masters.masters
        self._reference = ReferenceModel(frozen["reference"], masters, rule, temperature, ranks) if rule else None
        self.follower = SampledModel(frozen["follower"], masters, follower, ranks) if follower is not None else None
        self.earlier = EarlierModel(frozen["earlier"], masters, stale_steps, ranks) if stale_steps else None
        copies = {"reference": self._reference, "follower": self.follower, "earlier": self.earlier}
        self._copies: dict[str, CopyOfPolicy] = {part: one for part, one in copies.items() if one is not None}
        self._step = 0
        self.probe = WeightProbe(self.masters.masters.values(), ranks=ranks)
        self._weights_at_start = self.probe.read()
        self._readings = StepReadings(settings.learning_rate)
        self._start: StepScores | None = None
        self._weights_BT: Tensor | None = None

    def begin_step(
        self, step: int, batch: TrainBatch, objective: Objective | None = None, rate_factor: float = 1.0
    ) -> None:
        """Prepare `step` (from 1): set the learning rate, and take the log-probs at the current weights as the old
        ones.

        The learning rate is `rate_factor` times the configured one. `objective`, where given, replaces the present
        objective. With a single mini-batch the first pass yields the old log-probs. Several mini-batches, or a
        correction of the engine mismatch (fixed for the step), need a separate forward pass here.
        """
        self._step, self._objective = step, self._objective if objective is None else objective
        settings = self._settings
        rate = settings.learning_rate * settings.learning_rate_factor * min(1.0, step / max(1, settings.warmup_steps))
        rate *= rate_factor
        for group in self.masters.optimizer.param_groups:
            group["lr"] = rate
        self._readings = StepReadings(rate)
        # A collector may change the batch size between steps; the batch has M mini-batches as long as M divides it.
        if settings.mini_batches > 1:
            self._mini_batch_groups = math.ceil(len(batch.group_sizes()) / settings.mini_batches)
        [self._block_lengths_B] = to_device(
            [torch.cat([part.block_lengths_B(settings.block_responses) for part in self.mini_batches(batch)])],
            self._device,
        )
        self._start = StepScores(batch, self._device, self._log_prob_format, self._ranks)
        self._weights_at_start = self.probe.read()
        started = self._now()
        if self._reference is not None and self._objective.uses_reference:
            with torch.no_grad():
                for micro, counts in self._micro_batches(batch):
                    scores = self._reference.score(micro)
                    if counts:
                        self._start.keep_reference(micro, scores)
            self._start.share_reference()
        corrected = settings.engine_correction is not Correction.none
        if corrected or self._objective.uses_statistics or len(self.mini_batches(batch)) > 1:
            self._score_start(batch)
        # All passes of the step use the same correction weights.
        self._weights_BT = self._start.weights(settings) if corrected else None
        self._readings.old_log_prob_seconds = self._now() - started

    def _score_start(self, batch: TrainBatch) -> None:
        assert self._start is not None
        for mini_batch in self.mini_batches(batch):
            self._score(mini_batch, self._start)
        self._start.share()

    def _score(self, mini_batch: TrainBatch, into: StepScores) -> None:
        """Score forward only, in the same layout as the passes, so that a row gives bit-equal values."""
        with torch.no_grad():
            for micro, _, counts in self._work(mini_batch):
                scores = self._scorer.score(micro)
                if counts:
                    into.keep(micro, scores)

    def end_step(self) -> StepReadings:
        """The readings of the step that `begin_step` started."""
        assert self._start is not None
        self._start.share()
        self._readings.entropy = self._start.mean_entropy()
        self._readings.mismatch = self._start.mismatch()
        self._readings.displacement = self.probe.norm(self.probe.read() - self._weights_at_start)
        for one in self._copies.values():
            one.follow(self._step, self.masters.masters)
        return self._readings

    def tensors_beside(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Tensors for the checkpoint beside masters, optimizer state and anchor, by part."""
        return {part: one.tensors() for part, one in self._copies.items()}

    def load_beside(self, read: ReadPart) -> None:
        """Load the non-empty parts of `tensors_beside` with `read`."""
        for part, one in self._copies.items():
            if one.tensors():
                one.load(read(part, self.masters.masters))

    def weights(self) -> Mapping[str, Tensor]:
        """The policy's current weights by name, in the module's precision."""
        return self.placed.weights()

    def log_probs(self, completions: Sequence[Completion]) -> list[list[float]]:
        """The current policy's log-probs of each completion's response tokens, at the rollout temperature.

        Every rank must call this, each with its own completions.
        """
        batch = assemble(completions, torch.zeros(len(completions)), 1)
        rows: list[list[float]] = [[] for _ in completions]
        with torch.no_grad():
            mine = placed(micro_batches(batch, self._settings.micro_batch_tokens), self._device)
            for micro, _ in with_dummies(mine, lambda: mine[0], self._ranks):
                log_probs: list[list[float]] = self._scorer.score(micro).log_probs_BT.tolist()
                lengths = micro.host.response_tokens_B.tolist()
                for row, values, length in zip(micro.host.rows_B.tolist(), log_probs, lengths, strict=True):
                    rows[row] = values[:length]
        return rows

    def entropies(self, completions: Sequence[Completion]) -> list[float]:
        """The current policy's mean token entropy of each completion, in nats, at the rollout temperature.

        Every rank must call this with the same completions; each computes some of them.
        """
        batch = assemble(completions, torch.zeros(len(completions)), 1)
        sums_B = torch.zeros(len(batch), dtype=torch.float64, device=self._device)
        with torch.no_grad():
            for micro, counts in self._micro_batches(batch):
                scores = self._scorer.score(micro)
                if counts:
                    sums_B[micro.rows.rows_B] = scores.entropies_BT.double().sum(dim=1)
        self._ranks.add(sums_B)
        means: list[float] = (sums_B.cpu() / batch.response_tokens_B).tolist()
        return means

    # The operations of an update rule.

    def mini_batches(self, batch: TrainBatch) -> Sequence[TrainBatch]:
        """The mini-batches of `batch`, one per optimizer step: consecutive whole groups."""
        sizes, count = batch.group_sizes(), self._mini_batch_groups
        if not count or len(sizes) <= count:
            return [batch]
        rows = torch.arange(len(batch))
        runs = [sum(sizes[start : start + count]) for start in range(0, len(sizes), count)]
        return [batch.select(part) for part in rows.split(runs)]

    def optimize(self, batch: TrainBatch, stage: str) -> StageStats:
        """Make one pass: an optimizer step on each mini-batch of `batch`.

        Raises `NonFiniteError` for a non-finite loss or gradient norm, unless `learner.non_finite` is `skip`.
        """
        started = self._now()
        totals = PassTotals(self._device)
        for mini_batch in self.mini_batches(batch):
            self._optimizer_step(mini_batch, totals, stage)
        return totals.stats(stage, self._now() - started, self._ranks)

    def snapshot(self, moments: Moments) -> None:
        with self._reposition_clock():
            self.masters.snapshot(moments)

    def reposition(self, alpha: float | Elementwise, moments: Moments) -> None:
        with self._reposition_clock():
            squares = self._ranks.sums(self.masters.squares()) if callable(alpha) else []
            self.masters.reposition(alpha, moments, squares)

    def recording(
        self, name: str, quantity: StepQuantity = StepQuantity.clipped_gradient
    ) -> AbstractContextManager[None]:
        return self.masters.recording(name, quantity)

    # One optimizer step.

    def _optimizer_step(self, mini_batch: TrainBatch, totals: PassTotals, stage: str) -> None:
        # Inside, gradients are stored in the masters' memory, so masters must not be read.
        with self.masters.split():
            [loss] = self._ranks.sums([float(self._gradients(mini_batch, totals))])
            norm = self.masters.clip_gradients(self._settings.gradient_clip_norm or math.inf)
            taken = self._may_step(loss, norm, stage)
            if taken:
                self.masters.step()
        totals.add_step(loss, norm, taken=taken)

    def _gradients(self, mini_batch: TrainBatch, totals: PassTotals) -> Tensor:
        """Return this rank's share of the loss, on the device, and add its gradient to the masters' gradients."""
        counts = mini_batch.counts()
        # Over the whole mini-batch on all ranks, before the first micro-batch, so that the split does not change them.
        statistics = self._statistics(mini_batch) if self._objective.uses_statistics else {}
        loss = torch.zeros((), dtype=torch.float64, device=self._device)
        for micro, needs_gradient, counted in self._work(mini_batch):
            with torch.set_grad_enabled(needs_gradient):
                scores = self._scorer.score(micro, entropy_gradient=self._objective.uses_entropy)
                if not counted:
                    self._zero_backward(scores, needs_gradient)
                    continue
                old_BT, reference_BT = self._old(micro, scores)
                inputs = self._loss_inputs(micro, scores, old_BT, reference_BT, counts)
                share = self._objective.loss(replace(inputs, statistics=statistics) if statistics else inputs)
            if needs_gradient:
                share.value.backward()
                self.masters.collect_gradients()
            loss += share.value.detach()
            totals.add_tokens(micro, scores, old_BT, share.clipped_tokens)
        return loss

    def _zero_backward(self, scores: Scores, needs_gradient: bool) -> None:
        """Run a backward pass that adds zero, since FSDP needs every rank in every backward pass."""
        if needs_gradient:
            (scores.log_probs_BT.sum() * 0.0).backward()
            self.masters.collect_gradients()

    def _work(self, mini_batch: TrainBatch) -> Iterator[tuple[PlacedBatch, bool, bool]]:
        """This rank's micro-batches, each with whether it needs a gradient and whether it counts (else it is a dummy).

        Equal calls give equal layouts, so a row's values are computed the same way in every pass.
        """
        kept_B = mini_batch.kept_B()
        signal_B = mini_batch.signal_B(needs_every_row=self._objective.needs_every_row)
        for needs_gradient in (True, False):
            rows = (kept_B & (signal_B == needs_gradient)).nonzero()[:, 0]
            if len(rows):
                for micro, counts in self._micro_batches(mini_batch.select(rows)):
                    yield micro, needs_gradient, counts

    def _micro_batches(self, batch: TrainBatch) -> Iterator[tuple[PlacedBatch, bool]]:
        """This rank's micro-batches of `batch`, padded with dummies to the largest number on any rank."""
        settings = self._settings
        budget, window = settings.micro_batch_tokens, settings.packing_window
        return micro_batches_of_rank(batch, budget, window, self._ranks, self._device)

    def _old(self, micro: PlacedBatch, scores: Scores) -> tuple[Tensor, Tensor | None]:
        """Old and reference log-probs of these rows; in the step's first pass `scores` are the old ones."""
        assert self._start is not None
        if not self._start.has(micro):
            self._start.keep(micro, scores)
        return self._start.old(micro), self._start.reference(micro) if self._objective.uses_reference else None

    def _statistics(self, mini_batch: TrainBatch) -> Mapping[str, Tensor]:
        """The objective's statistics at the current weights, over the mini-batch's rows on all ranks without dropped
        rows."""
        assert self._start is not None
        counts = mini_batch.counts()
        if mini_batch.row_weights_B is not None:
            mini_batch = mini_batch.select(mini_batch.kept_B().nonzero()[:, 0])
        # The table has the rows of the step's batch; rows outside the mini-batch stay empty.
        now = self._start.blank(with_entropies=True)
        self._score(mini_batch, now)
        now.share()
        [rows] = placed([mini_batch], self._device)
        scores = now.scores(rows)
        reference_BT = self._start.reference(rows) if self._objective.uses_reference else None
        inputs = self._loss_inputs(rows, scores, self._start.old(rows), reference_BT, counts)
        with torch.no_grad():
            return self._objective.statistics(inputs)

    def _loss_inputs(
        self, micro: PlacedBatch, scores: Scores, old_BT: Tensor, reference_BT: Tensor | None, counts: BatchCounts
    ) -> LossInputs:
        rows = micro.rows
        return LossInputs(
            log_probs_BT=scores.log_probs_BT,
            old_log_probs_BT=old_BT,
            advantages_BT=rows.advantages_BT.to(scores.log_probs_BT.dtype),
            mask_BT=scores.mask_BT,
            counts=counts,
            reference_log_probs_BT=reference_BT,
            entropies_BT=scores.entropies_BT if self._objective.uses_entropy else None,
            block_lengths_B=self._block_lengths_B[rows.rows_B],
            weights_BT=self._weights(rows),
            row_weights_B=None if rows.row_weights_B is None else rows.row_weights_B.to(scores.log_probs_BT.dtype),
            scores=rows.scores,
            groups_B=rows.groups_B,
            rows_B=rows.rows_B,
            vocabulary=self._scorer.vocabulary,
        )

    def _weights(self, rows: TrainBatch) -> Tensor | None:
        """The token weights: those of the engine correction times those of the selection; None without either."""
        chosen_BT = None if rows.token_weights_BT is None else rows.token_weights_BT.to(self._log_prob_format)
        if self._weights_BT is None:
            return chosen_BT
        corrected_BT = self._weights_BT[rows.rows_B, : rows.responses_BT.shape[1]]
        return corrected_BT if chosen_BT is None else corrected_BT * chosen_BT

    def _may_step(self, loss: float, norm: float, stage: str) -> bool:
        if math.isfinite(loss) and math.isfinite(norm):
            return True
        if self._settings.non_finite is NonFinite.skip:
            return False
        raise NonFiniteError(
            f"stage {stage}: loss {loss} and gradient norm {norm}, expected finite numbers; lower "
            f"learner.learning_rate (now {self._settings.learning_rate:g}), or set learner.non_finite=skip to leave "
            "such optimizer steps out"
        )

    @contextmanager
    def _reposition_clock(self) -> Iterator[None]:
        started = self._now()
        yield
        self._readings.reposition_seconds += self._now() - started

    def _now(self) -> float:
        """The clock, in seconds, once the device has done what it was told."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def make_optimizer(weights: list[Tensor], settings: LearnerSettings) -> Optimizer:
    """The configured optimizer over fp32 (or fp64) weights."""
    if settings.optimizer is OptimizerKind.sgd:
        return torch.optim.SGD(weights, lr=settings.learning_rate)
    return torch.optim.AdamW(
        weights,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
