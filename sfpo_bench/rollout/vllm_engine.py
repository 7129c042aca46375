"""Rollouts by vLLM: seeds, completions, weight sync and its check.

Each response has its own seed, but vLLM's logits depend in the last bits on the other sequences in the batch. A
response may therefore differ between batch compositions, restarts and machines. Responses of the transformers engine do
not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sfpo_bench.core.errors import EngineFailed
from sfpo_bench.core.types import Completion, FinishReason, Sampling
from sfpo_bench.rollout.parity import BOUNDS, SYNC_CHECK_BOUNDS, Halved, Parity, Score, compare
from sfpo_bench.rollout.protocol import NoiseStream, Request
from sfpo_bench.rollout.vllm_backend import Backend, Draw, Drawn
from sfpo_bench.settings.rollout import VllmRollout

_PARITY_TOKENS = 32

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class TrainerSide:
    """The trainer's side of the engine.

    It has the weights by name, the function `present` that maps them to vLLM's, the scoring for the parity check, and
    the number format of both. `owned` are the shards behind `weights` where these are sharded over ranks.
    """

    weights: Mapping[str, Tensor]
    present: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    score: Score
    dtype: str
    seed: int
    owned: Sequence[Tensor] = ()


@dataclass(slots=True)
class _Readings:
    """Measurements for the next step's record."""

    parity: Parity | None = None
    parity_seconds: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0


class VllmEngine:
    """Generates with vLLM through a `Backend` that `start` creates, at construction and at every restart.

    Construction starts vLLM, syncs the weights, runs the sync check, and compares log-probs with the trainer's.

    Raises `EngineFailed` when vLLM cannot be started or has used up its restarts, and `EngineMismatch` when its
    log-probs differ from the trainer's.
    """

    def __init__(
        self,
        start: Callable[[], Backend],
        settings: VllmRollout,
        trainer: TrainerSide,
        tokenizer: PreTrainedTokenizerBase,
        end_ids: frozenset[int],
        probes: Sequence[Request],
    ) -> None:
        self._start = start
        self._settings = settings
        self._trainer = trainer
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._probes = probes[: settings.parity_responses]
        self._bound = settings.parity_bound or BOUNDS[trainer.dtype]
        self._restarts = 0
        self._loads = 0
        self._readings = _Readings()
        started = time.perf_counter()
        self._backend = start()
        self._numbers = {"start_seconds": time.perf_counter() - started}
        try:
            self._sync_and_check()
        except BaseException:  # an interrupt, too, must not leave vLLM's processes running
            self._backend.close()
            raise

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        """Generate completions, in the order of the requests and, within a request, of its samples."""
        completions, drawn = self._sample(requests, sampling, noise)
        if noise.purpose == "rollout":
            self._readings.prompt_tokens += sum(len(completion.prompt_ids) for completion in completions)
            self._readings.cached_tokens += sum(one.cached_tokens for one in drawn)
        return completions

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Sync the weights; check parity after the first sync and after every `parity_every`-th one."""
        self._with_restarts(lambda: self._backend.push(self._trainer.present(weights)))
        self._loads += 1
        if self._loads == 1 or self._loads % self._settings.parity_every == 0:
            started = time.perf_counter()
            self._readings.parity = self._check(f"after push {self._loads}")
            self._readings.parity_seconds = time.perf_counter() - started

    def free_memory(self) -> None:
        """Put vLLM to sleep where it supports that."""
        self._with_restarts(lambda: self._backend.free_memory())

    def metrics(self) -> Mapping[str, float]:
        """Restarts so far, the share of prompt tokens from the prefix cache, and the parity if it was checked."""
        readings, self._readings = self._readings, _Readings()
        found = {"engine_restarts": float(self._restarts)}
        if readings.prompt_tokens:
            found["cached_prompt_share"] = readings.cached_tokens / readings.prompt_tokens
        if readings.parity is not None:
            found |= _numbers(readings.parity) | {"parity_seconds": readings.parity_seconds}
        return found

    def started(self) -> Mapping[str, float]:
        """Seconds of start and first weight sync, and the parity after it."""
        return self._numbers

    def close(self) -> None:
        """Shut vLLM down."""
        self._backend.close()

    # Weight sync and its check.

    def _sync_and_check(self) -> None:
        """Sync halved weights, then the real ones, and check parity after each."""
        started = time.perf_counter()
        weights = self._trainer.weights
        if self._settings.check_sync:
            with Halved(self._trainer.owned or list(weights.values())):
                self._backend.push(self._trainer.present(weights))
                checked = self._check("in the sync check, with halved weights", SYNC_CHECK_BOUNDS[self._trainer.dtype])
            self._numbers |= {"sync_check_parity_max": checked.largest}
        pushing = time.perf_counter()
        self._backend.push(self._trainer.present(weights))
        self._numbers |= {"push_seconds": time.perf_counter() - pushing}
        self._numbers |= _numbers(self._check("at the start"))
        self._numbers |= {"introduction_seconds": time.perf_counter() - started}

    def _check(self, when: str, least_bound: float = 0.0) -> Parity:
        """Sample responses to the probes and compare their log-probs with the trainer's."""
        noise = NoiseStream(self._trainer.seed, "parity", self._loads)
        limit = min(_PARITY_TOKENS, self._settings.max_new_tokens)
        completions, _ = self._sample(self._probes, Sampling(self._settings.temperature, limit), noise)
        parity = compare(completions, self._trainer.score, max(self._bound, least_bound))
        parity.require(when)
        return parity

    # Drawing.

    def _sample(
        self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream
    ) -> tuple[list[Completion], list[Drawn]]:
        owners = [(request, sample) for request in requests for sample in request.samples]
        # 63 bits, since vLLM's seed is signed.
        draws = [Draw(request.prompt_ids, noise.key(request.problem_id, sample) >> 1) for request, sample in owners]
        drawn = self._with_restarts(lambda: self._backend.draw(draws, sampling, sorted(self._end_ids)))
        whole = [request.whole(one.token_ids) for (request, _), one in zip(owners, drawn, strict=True)]
        texts = self._tokenizer.batch_decode(whole, skip_special_tokens=True)
        completions = [
            Completion(
                problem_id=request.problem_id,
                sample=sample,
                prompt_ids=request.prompt_ids,
                response_ids=one.token_ids,
                log_probs=one.log_probs,
                text=text,
                finish_reason=FinishReason.stopped if one.token_ids[-1] in self._end_ids else FinishReason.truncated,
            )
            for (request, sample), one, text in zip(owners, drawn, texts, strict=True)
        ]
        return completions, drawn

    def _with_restarts(self, act: Callable[[], Result]) -> Result:
        """Return what `act` returns; on failure restart vLLM with the current weights, at most `rollout.restarts`
        times."""
        while True:
            try:
                return act()
            except EngineFailed:
                if self._restarts >= self._settings.restarts:
                    raise
                self._restarts += 1
                self._backend.close()
                self._backend = self._start()
                self._sync_and_check()


def _numbers(parity: Parity) -> dict[str, float]:
    return {"parity_max": parity.largest, "parity_mean": parity.mean, "parity_bound": parity.bound}
