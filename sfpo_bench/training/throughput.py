"""What a training step costs in the field's units: tokens a second, FLOPs utilisation, peak memory, shares of time.

Only measurements of this machine: no result of a run depends on them.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.models.flops import forward_flops
from sfpo_bench.models.shapes import Shape, shape_in
from sfpo_bench.training.batch import TrainBatch
from sfpo_bench.training.device_peaks import Peak

_PARTS = ("rollout", "grading", "update", "push")


@dataclass(frozen=True, slots=True)
class PassTokens:
    """What one pass over a batch goes through: tokens, each prompt once, and pairs of query and key; `learned_...`, of
    them, are those whose weights get a gradient."""

    tokens: float
    pairs: float
    learned_tokens: float
    learned_pairs: float

    @classmethod
    def of(cls, batch: TrainBatch, *, needs_every_row: bool) -> PassTokens:
        """Counted where the batch lies, and read from there once."""
        kept_B, signal_B = batch.kept_B(), batch.signal_B(needs_every_row=needs_every_row)
        both = [value for rows_B in (kept_B, kept_B & signal_B) for value in _through(batch, rows_B)]
        return cls(*torch.stack(both).tolist())


def _through(batch: TrainBatch, rows_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and pairs of these rows and of the prompts they stand behind."""
    prompts_P, responses_B = batch.prompt_tokens_P.double(), batch.response_tokens_B.double() * rows_B
    used_P = torch.zeros_like(prompts_P).index_fill(0, batch.owners_B[rows_B], 1.0) * prompts_P
    before_B = prompts_P[batch.owners_B]
    pairs = (used_P * (used_P + 1) / 2).sum() + (responses_B * (before_B + (responses_B + 1) / 2)).sum()
    return used_P.sum() + responses_B.sum(), pairs


@dataclass(frozen=True, slots=True)
class Machine:
    """What trains a run: as many devices, each with a peak, and a model of a shape (None: of an unknown kind).
    `trains_weights` is False for adapters beside frozen weights, which need no gradient of their own."""

    device: torch.device
    devices: int
    peak: Peak
    shape: Shape | None
    trains_weights: bool = True

    def begin_step(self) -> None:
        """Measure the device's peak memory from here on."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def memory(self) -> dict[str, float]:
        """Peak memory of this process: of the step on a GPU, and of its whole life on the host."""
        unit = 1 if sys.platform == "darwin" else 1024
        found = {"host_peak_bytes": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)}
        if self.device.type == "cuda":
            found["device_peak_bytes"] = float(torch.cuda.max_memory_allocated(self.device))
        return found

    def metrics(
        self, seconds: Mapping[str, float], generated_tokens: int, work: PassTokens, passes: int
    ) -> dict[str, float]:
        """The step's scalars from its `<part>_seconds`, what was sampled, and `passes` over `work`."""
        whole, update = seconds["step_seconds"], seconds["update_seconds"]
        found = {f"{part}_share": seconds.get(f"{part}_seconds", 0.0) / whole for part in _PARTS}
        found["tokens_per_second"] = generated_tokens / whole / self.devices
        if seconds.get("rollout_seconds"):
            found["generated_tokens_per_second"] = generated_tokens / seconds["rollout_seconds"] / self.devices
        found["trained_tokens_per_second"] = passes * work.tokens / update / self.devices
        if self.shape is not None:
            achieved = passes * self._flops(self.shape, work) / update / self.devices
            found["update_flops_per_second"] = achieved
            if self.peak.flops_per_second:
                found["update_flops_utilization"] = achieved / self.peak.flops_per_second
        return found

    def _flops(self, shape: Shape, work: PassTokens) -> float:
        """Of one pass: a forward over everything, and a backward over what is learned from, whose part for the weights
        frozen weights do not need."""
        backward = (1 + self.trains_weights) * forward_flops(shape, work.learned_tokens, work.learned_pairs)
        return forward_flops(shape, work.tokens, work.pairs) + backward


def shape_or_none(config: Mapping[str, int | bool | str | None]) -> Shape | None:
    """The shape in a model's configuration; None for an architecture whose operations are not known here."""
    try:
        return shape_in(config, "the model's configuration")
    except ConfigError:
        return None
