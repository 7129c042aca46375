"""The learner: turns one batch of rollouts into optimizer steps, on one device or on those of all ranks.

begin_step(step, batch)     learning rate; old log-probs where they need a pass of their own
optimize(batch, stage)      one pass: for each mini-batch, gradients over its micro-batches, clip, step
snapshot / reposition       the anchor of SFPO, on the fp32 masters
end_step()                  entropy at the start, displacement, seconds
probe                       where the weights are, for rules that measure how they moved
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
from sfpo_bench.algorithms.objectives import k3
from sfpo_bench.algorithms.protocols import BatchCounts, LossInputs, Moments, Objective, Reference
from sfpo_bench.algorithms.recorded import Elementwise, StepQuantity
from sfpo_bench.algorithms.references import StartReference
from sfpo_bench.core.errors import NonFiniteError
from sfpo_bench.core.types import Completion, StageStats
from sfpo_bench.settings.training import LearnerSettings, NonFinite, OptimizerKind
from sfpo_bench.training.batch import TrainBatch, assemble, micro_batches, micro_batches_of_rank
from sfpo_bench.training.checkpoint import ReadPart
from sfpo_bench.training.master_weights import MasterWeights
from sfpo_bench.training.placed_scorer import PlacedScorer
from sfpo_bench.training.probe import WeightProbe
from sfpo_bench.training.ranks import ALONE, Ranks, turns
from sfpo_bench.training.reference import CopyOfPolicy, EarlierModel, ReferenceModel, SampledModel, frozen_copy
from sfpo_bench.training.scoring import Scores
from sfpo_bench.training.step_scores import StepScores


@dataclass(slots=True)
class StepReadings:
    """What a learner knows of one training step once it is over. `entropy` is the mean token entropy over the whole
    batch at the weights the step started from, nats; `mismatch` compares the log-probs at those weights with the
    engine's."""

    learning_rate: float
    entropy: float = math.nan
    mismatch: Mismatch = PERFECT_MATCH
    displacement: float = 0.0
    old_log_prob_seconds: float = 0.0
    reposition_seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """The readings by the keys of the journal."""
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
    """Policy, objective and optimizer on one device, and this rank's share of the work where there are several.

    Every rank is given the whole batch and computes some of its rows; statistics cover all of them. Rows with zero
    advantage need no gradient when the objective says so: they are run forward only, which changes nothing but the
    time. Neither micro-batches nor ranks change the result: every denominator is counted over the mini-batch.

    A model to measure KL against is held where `objective` asks for one, or where a `reference` is given for one that
    comes later; one to sample from beside the policy where a `follower` is given; and one of `stale_steps` ago.
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
        frozen = frozen_copy(model) if reference is not None or objective.uses_reference else None
        sampled = frozen_copy(model) if follower is not None else None
        earlier = frozen_copy(model) if stale_steps else None
        self._log_prob_format = torch.float64 if model.dtype == torch.float64 else torch.float32
        self._scorer = PlacedScorer(model, temperature, ranks, recompute=settings.recompute_layers)
        self.placed = self._scorer.placed
        self.masters = MasterWeights(
            model, lambda weights: make_optimizer(weights, settings), anchor_on_host=settings.anchor_on_host
        )
        self._scorer.lead_head(self.masters.leaf)
        self._reference: ReferenceModel | None = None
        if frozen is not None:
            rule = reference or StartReference()
            self._reference = ReferenceModel(frozen, self.masters.masters, rule, temperature, ranks)
        self.follower: SampledModel | None = None
        if sampled is not None and follower is not None:
            self.follower = SampledModel(sampled, self.masters.masters, follower, ranks)
        self.earlier: EarlierModel | None = None
        if earlier is not None:
            self.earlier = EarlierModel(earlier, self.masters.masters, stale_steps, ranks)
        copies: dict[str, CopyOfPolicy | None] = {
            "reference": self._reference,
            "follower": self.follower,
            "earlier": self.earlier,
        }
        self._copies = {part: one for part, one in copies.items() if one is not None}
        self._step = 0
        self.probe = WeightProbe(self.masters.masters.values(), ranks=ranks)
        self._weights_at_start = self.probe.read()
        self._readings = StepReadings(settings.learning_rate)
        self._start: StepScores | None = None
        self._weights_BT: Tensor | None = None

    def begin_step(
        self, step: int, batch: TrainBatch, objective: Objective | None = None, rate_factor: float = 1.0
    ) -> None:
        """Set the learning rate of `step` (from 1), `rate_factor` times that of the settings, and take the log-probs at
        the present weights as the old ones; `objective` is minimised from now on, where one is given.

        With a single mini-batch the first pass computes them anyway; with more, and with a correction of the engine's
        mismatch, which is fixed for the step, they need a forward pass here.
        """
        self._step, self._objective = step, self._objective if objective is None else objective
        settings = self._settings
        rate = settings.learning_rate * settings.learning_rate_factor * min(1.0, step / max(1, settings.warmup_steps))
        rate *= rate_factor
        for group in self.masters.optimizer.param_groups:
            group["lr"] = rate
        self._readings = StepReadings(rate)
        # A collector may change the size of the batch from step to step; it has M mini-batches as long as M divides it.
        if settings.mini_batches > 1:
            self._mini_batch_groups = math.ceil(len(batch.group_sizes()) / settings.mini_batches)
        self._block_lengths_B = torch.cat(
            [part.block_lengths_B(settings.block_responses) for part in self.mini_batches(batch)]
        )
        self._start = StepScores(batch, self._log_prob_format, self._ranks)
        self._weights_at_start = self.probe.read()
        started = time.perf_counter()
        if self._reference is not None and self._objective.uses_reference:
            with torch.no_grad():
                for micro, counts in self._turns(batch):
                    scores = self._reference.score(micro)
                    if counts:
                        self._start.keep_reference(micro, scores)
            self._start.share_reference()
        corrected = settings.engine_correction is not Correction.none
        if corrected or self._objective.uses_statistics or len(self.mini_batches(batch)) > 1:
            self._score_start(batch)
        # Fixed for the step: all passes are corrected by the same weights.
        self._weights_BT = self._start.weights(settings) if corrected else None
        self._readings.old_log_prob_seconds = time.perf_counter() - started

    def _score_start(self, batch: TrainBatch) -> None:
        assert self._start is not None
        for mini_batch in self.mini_batches(batch):
            self._score(mini_batch, self._start)
        self._start.share()

    def _score(self, mini_batch: TrainBatch, into: StepScores) -> None:
        """Forward only, in the layout of the passes, so that a row's numbers are computed the same way."""
        with torch.no_grad():
            for micro, _, counts in self._work(mini_batch):
                scores = self._scorer.score(micro)
                if counts:
                    into.keep(micro, scores)

    def end_step(self) -> StepReadings:
        """Readings of the step that `begin_step` opened."""
        assert self._start is not None
        self._start.share()
        self._readings.entropy = self._start.mean_entropy()
        self._readings.mismatch = self._start.mismatch()
        self._readings.displacement = self.probe.norm(self.probe.read() - self._weights_at_start)
        for one in self._copies.values():
            one.follow(self._step, self.masters.masters)
        return self._readings

    def tensors_beside(self) -> Mapping[str, Mapping[str, Tensor]]:
        """What a checkpoint carries beside the masters, their optimizer and their anchor, by part."""
        return {part: one.tensors() for part, one in self._copies.items()}

    def load_beside(self, read: ReadPart) -> None:
        """Take up the parts of `tensors_beside` that are not empty, which `read` finds by their names."""
        for part, one in self._copies.items():
            if one.tensors():
                one.load(read(part, self.masters.masters))

    def weights(self) -> Mapping[str, Tensor]:
        """The policy's present weights by name, as the module computes with them."""
        return self.placed.weights()

    def log_probs(self, completions: Sequence[Completion]) -> list[list[float]]:
        """The present policy's log-probs of each completion's response tokens, at the temperature of rollouts. Every
        rank must ask, each for completions of its own."""
        batch = assemble(completions, torch.zeros(len(completions)), 1, self.placed.device)
        rows: list[list[float]] = [[] for _ in completions]
        with torch.no_grad():
            mine = micro_batches(batch, self._settings.micro_batch_tokens)
            for micro, _ in turns(mine, lambda: mine[0], self._ranks):
                scores = self._scorer.score(micro)
                for row, values, mask in zip(micro.rows_B, scores.log_probs_BT, scores.mask_BT, strict=True):
                    rows[int(row)] = values[mask].tolist()
        return rows

    def entropies(self, completions: Sequence[Completion]) -> list[float]:
        """The present policy's mean token entropy of each completion, nats, at the temperature of rollouts. Every rank
        must ask for the same ones, and computes some of them."""
        batch = assemble(completions, torch.zeros(len(completions)), 1, self.placed.device)
        sums_B = torch.zeros(len(batch), dtype=torch.float64, device=self.placed.device)
        with torch.no_grad():
            for micro, counts in self._turns(batch):
                scores = self._scorer.score(micro)
                if counts:
                    sums_B[micro.rows_B] = scores.entropies_BT.double().sum(dim=1)
        self._ranks.add(sums_B)
        means: list[float] = (sums_B / batch.response_tokens_B).tolist()
        return means

    # The verbs of an update rule.

    def mini_batches(self, batch: TrainBatch) -> Sequence[TrainBatch]:
        """Runs of consecutive groups, each the data of one optimizer step; groups are never divided."""
        sizes, count = batch.group_sizes(), self._mini_batch_groups
        if not count or len(sizes) <= count:
            return [batch]
        rows = torch.arange(len(batch), device=batch.rows_B.device)
        runs = [sum(sizes[start : start + count]) for start in range(0, len(sizes), count)]
        return [batch.select(part) for part in rows.split(runs)]

    def optimize(self, batch: TrainBatch, stage: str) -> StageStats:
        """One pass: an optimizer step on each mini-batch of `batch`.

        Raises `NonFiniteError` for a non-finite loss or gradient norm, unless such steps are to be skipped.
        """
        started = time.perf_counter()
        totals = _PassTotals()
        for mini_batch in self.mini_batches(batch):
            self._optimizer_step(mini_batch, totals, stage)
        return totals.stats(stage, time.perf_counter() - started, self._ranks)

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

    def _optimizer_step(self, mini_batch: TrainBatch, totals: _PassTotals, stage: str) -> None:
        # Gradients of the mini-batch use the masters' own memory, so that nothing of them may be read inside.
        with self.masters.split():
            [loss] = self._ranks.sums([self._gradients(mini_batch, totals)])
            norm = self.masters.clip_gradients(self._settings.gradient_clip_norm or math.inf)
            taken = self._may_step(loss, norm, stage)
            if taken:
                self.masters.step()
        totals.add_step(loss, norm, taken=taken)

    def _gradients(self, mini_batch: TrainBatch, totals: _PassTotals) -> float:
        """This rank's share of the loss; its gradient is added to that of the masters."""
        counts = mini_batch.counts()
        # Of the whole mini-batch on all ranks, before its first micro-batch: a split must not change them.
        statistics = self._statistics(mini_batch) if self._objective.uses_statistics else {}
        loss = 0.0
        for micro, needs_gradient, counted in self._work(mini_batch):
            with torch.set_grad_enabled(needs_gradient):
                scores = self._scorer.score(micro, entropy_gradient=self._objective.uses_entropy)
                if not counted:
                    self._take_part(scores, needs_gradient)
                    continue
                old_BT, reference_BT = self._old(micro, scores)
                inputs = self._loss_inputs(micro, scores, old_BT, reference_BT, counts)
                share = self._objective.loss(replace(inputs, statistics=statistics) if statistics else inputs)
            if needs_gradient:
                share.value.backward()
                self.masters.collect_gradients()
            loss += float(share.value.detach())
            totals.add_tokens(scores, old_BT, int(share.clipped_tokens))
        return loss

    def _take_part(self, scores: Scores, needs_gradient: bool) -> None:
        """A backward that adds nothing, while other ranks have rows left."""
        if needs_gradient:
            (scores.log_probs_BT.sum() * 0.0).backward()
            self.masters.collect_gradients()

    def _work(self, mini_batch: TrainBatch) -> Iterator[tuple[TrainBatch, bool, bool]]:
        """This rank's micro-batches of a mini-batch, whether they need a gradient, and whether they count or are there
        for the sake of other ranks. The same call gives the same layout, so a row's numbers are computed the same way
        in every pass."""
        kept_B = mini_batch.kept_B()
        signal_B = kept_B if mini_batch.row_weights_B is None else mini_batch.row_weights_B != 0
        if not self._objective.needs_every_row:
            signal_BT = (mini_batch.advantages_BT != 0) & mini_batch.loss_mask_BT()
            if mini_batch.token_weights_BT is not None:
                signal_BT = signal_BT & (mini_batch.token_weights_BT != 0)
            signal_B = signal_B & signal_BT.any(dim=1)
        for needs_gradient in (True, False):
            rows = (kept_B & (signal_B == needs_gradient)).nonzero()[:, 0]
            if len(rows):
                for micro, counts in self._turns(mini_batch.select(rows)):
                    yield micro, needs_gradient, counts

    def _turns(self, batch: TrainBatch) -> Iterator[tuple[TrainBatch, bool]]:
        """This rank's micro-batches of `batch`, and stand-ins while others have more."""
        settings = self._settings
        return micro_batches_of_rank(batch, settings.micro_batch_tokens, settings.packing_window, self._ranks)

    def _old(self, micro: TrainBatch, scores: Scores) -> tuple[Tensor, Tensor | None]:
        """Old and reference log-probs of these rows; in the step's first pass the scores at hand are the old ones."""
        assert self._start is not None
        if not self._start.has(micro):
            self._start.keep(micro, scores)
        return self._start.old(micro), self._start.reference(micro) if self._objective.uses_reference else None

    def _statistics(self, mini_batch: TrainBatch) -> Mapping[str, Tensor]:
        """The objective's statistics over the mini-batch's rows on all ranks, at the present weights; rows that a
        selection dropped are not among them."""
        assert self._start is not None
        counts = mini_batch.counts()
        if mini_batch.row_weights_B is not None:
            mini_batch = mini_batch.select(mini_batch.kept_B().nonzero()[:, 0])
        # Numbered like the step's batch: a table of it whose other rows stay empty.
        now = self._start.blank(with_entropies=True)
        self._score(mini_batch, now)
        now.share()
        scores = now.scores(mini_batch)
        reference_BT = self._start.reference(mini_batch) if self._objective.uses_reference else None
        inputs = self._loss_inputs(mini_batch, scores, self._start.old(mini_batch), reference_BT, counts)
        with torch.no_grad():
            return self._objective.statistics(inputs)

    def _loss_inputs(
        self, micro: TrainBatch, scores: Scores, old_BT: Tensor, reference_BT: Tensor | None, counts: BatchCounts
    ) -> LossInputs:
        return LossInputs(
            log_probs_BT=scores.log_probs_BT,
            old_log_probs_BT=old_BT,
            advantages_BT=micro.advantages_BT.to(scores.log_probs_BT.dtype),
            mask_BT=scores.mask_BT,
            counts=counts,
            reference_log_probs_BT=reference_BT,
            entropies_BT=scores.entropies_BT if self._objective.uses_entropy else None,
            block_lengths_B=self._block_lengths_B[micro.rows_B],
            weights_BT=self._weights(micro),
            row_weights_B=None if micro.row_weights_B is None else micro.row_weights_B.to(scores.log_probs_BT.dtype),
            scores=micro.scores,
            groups_B=micro.groups_B,
            rows_B=micro.rows_B,
            vocabulary=self._scorer.vocabulary,
        )

    def _weights(self, micro: TrainBatch) -> Tensor | None:
        """The correction's weights of these tokens times a selection's, where there are any."""
        chosen_BT = None if micro.token_weights_BT is None else micro.token_weights_BT.to(self._log_prob_format)
        if self._weights_BT is None:
            return chosen_BT
        corrected_BT = self._weights_BT[micro.rows_B, : micro.responses_BT.shape[1]]
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
        started = time.perf_counter()
        yield
        self._readings.reposition_seconds += time.perf_counter() - started


class _PassTotals:
    """Sums over the tokens and optimizer steps of one pass."""

    def __init__(self) -> None:
        self.tokens = self.clipped = self.steps = self.skipped = 0
        self.ratio = self.kl = self.entropy = self.loss = self.norm = 0.0
        self.ratio_max = 0.0

    def add_tokens(self, scores: Scores, old_BT: Tensor, clipped: int) -> None:
        with torch.no_grad():
            mask_BT = scores.mask_BT
            ratios_N = (scores.log_probs_BT - old_BT).exp()[mask_BT]
            self.tokens += ratios_N.numel()
            self.clipped += clipped
            self.ratio += float(ratios_N.double().sum())
            self.ratio_max = max(self.ratio_max, float(ratios_N.max()))
            self.kl += float(k3(old_BT, scores.log_probs_BT)[mask_BT].double().sum())
            self.entropy += float(scores.entropies_BT.double().sum())

    def add_step(self, loss: float, norm: float, *, taken: bool) -> None:
        self.loss += loss
        self.norm += norm
        self.steps += taken
        self.skipped += not taken

    def stats(self, stage: str, seconds: float, ranks: Ranks) -> StageStats:
        """The pass's statistics over the tokens of all ranks; losses and norms are global already."""
        attempted = self.steps + self.skipped
        tokens, clipped, ratio, kl, entropy = ranks.sums([self.tokens, self.clipped, self.ratio, self.kl, self.entropy])
        return StageStats(
            stage=stage,
            loss=self.loss / attempted,
            clip_fraction=clipped / tokens,
            ratio_mean=ratio / tokens,
            ratio_max=ranks.largest(self.ratio_max),
            kl_to_start=kl / tokens,
            gradient_norm=self.norm / attempted,
            entropy=entropy / tokens,
            optimizer_steps=self.steps,
            skipped_optimizer_steps=self.skipped,
            seconds=seconds,
        )


def make_optimizer(weights: list[Tensor], settings: LearnerSettings) -> Optimizer:
    """The optimizer of the settings over fp32 (or fp64) weights."""
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
