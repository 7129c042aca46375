"""Rollouts by vLLM: seeds, completions, the weights' way into the engine, and the check that they arrived.

What vLLM's sampling cannot promise: the noise of a response is a function of its own seed, but its logits depend in the
last bits on what is decoded beside it, so a response may differ between batches of another composition, between
restarts and between machines. The transformers engine's responses do not.
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
    """What the engine must know of the trainer: its weights by name, how they become the ones vLLM is given, its
    scoring, and the number format both compute in. `owned` are the tensors that weights are made of where those are
    spread over processes."""

    weights: Mapping[str, Tensor]
    present: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    score: Score
    dtype: str
    seed: int
    owned: Sequence[Tensor] = ()


@dataclass(slots=True)
class _Readings:
    """What is recorded with the next step."""

    parity: Parity | None = None
    parity_seconds: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0


class VllmEngine:
    """Generates with vLLM through a `Backend` that `start` makes, now and at every restart.

    The start is part of construction: vLLM starts, gets the weights, shows in a sync check that it takes over what is
    pushed, and that its log-probs are the trainer's.

    Raises `EngineFailed` when vLLM cannot be started or is lost for good, `EngineMismatch` when it does not compute
    what the trainer does.
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
            self._introduce()
        except BaseException:  # An interrupt too must not leave vLLM's processes behind.
            self._backend.close()
            raise

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        """Completions in the order of the requests and, within a request, of its samples."""
        completions, drawn = self._sample(requests, sampling, noise)
        if noise.purpose == "rollout":
            self._readings.prompt_tokens += sum(len(completion.prompt_ids) for completion in completions)
            self._readings.cached_tokens += sum(one.cached_tokens for one in drawn)
        return completions

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Push the weights; the first time and every `parity_every` times, see that they arrived."""
        self._with_restarts(lambda: self._backend.push(self._trainer.present(weights)))
        self._loads += 1
        if self._loads == 1 or self._loads % self._settings.parity_every == 0:
            started = time.perf_counter()
            self._readings.parity = self._check(f"after push {self._loads}")
            self._readings.parity_seconds = time.perf_counter() - started

    def free_memory(self) -> None:
        """Let vLLM sleep where it can."""
        self._with_restarts(lambda: self._backend.free_memory())

    def metrics(self) -> Mapping[str, float]:
        """Restarts so far, the share of prompt tokens not computed again, and the parity if it was checked."""
        readings, self._readings = self._readings, _Readings()
        found = {"engine_restarts": float(self._restarts)}
        if readings.prompt_tokens:
            found["cached_prompt_share"] = readings.cached_tokens / readings.prompt_tokens
        if readings.parity is not None:
            found |= _numbers(readings.parity) | {"parity_seconds": readings.parity_seconds}
        return found

    def started(self) -> Mapping[str, float]:
        """Seconds of start and introduction, and the parity they ended with."""
        return self._numbers

    def close(self) -> None:
        """End vLLM."""
        self._backend.close()

    # The weights' way, and whether they arrived.

    def _introduce(self) -> None:
        """The first pushes: halved weights and back, each compared."""
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
        """Responses to the probes, their log-probs against the trainer's."""
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
        # 63 bits: vLLM takes a signed seed.
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
        """What `act` returns; vLLM is started again with the trainer's present weights, as often as is allowed."""
        while True:
            try:
                return act()
            except EngineFailed:
                if self._restarts >= self._settings.restarts:
                    raise
                self._restarts += 1
                self._backend.close()
                self._backend = self._start()
                self._introduce()


def _numbers(parity: Parity) -> dict[str, float]:
    return {"parity_max": parity.largest, "parity_mean": parity.mean, "parity_bound": parity.bound}
