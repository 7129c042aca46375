"""Generation with a transformers model in this process: a decode loop that prefills each prompt once per group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from sfpo_bench.errors import NonFiniteError
from sfpo_bench.rollout.protocol import NoiseStream, Request, Sampling
from sfpo_bench.seeding import uniforms
from sfpo_bench.types import Completion, FinishReason


class TransformersEngine:
    """Samples from `model`; `batch_responses` bounds how many responses are decoded side by side.

    The model may be the learner's own module: then `load` has nothing to copy and responses always come from the
    present weights. Finished responses leave the batch once they are half of it.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        end_ids: frozenset[int],
        batch_responses: int,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._end_ids = torch.tensor(sorted(end_ids), device=model.device)
        self._batch_responses = batch_responses

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        """Completions in the order of the requests and, within a request, of its samples."""
        completions: list[Completion] = []
        with torch.inference_mode():
            for chunk in _chunks(requests, self._batch_responses):
                completions += self._generate(chunk, sampling, noise)
        return completions

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy the weights by name; those that already share memory with the model are left alone."""
        own = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                if own[name].data_ptr() != weight.data_ptr():
                    own[name].copy_(weight)

    def rest(self) -> None:
        """Nothing to give back: the weights are the learner's, the cache is gone."""

    def metrics(self) -> Mapping[str, float]:
        """None of its own."""
        return {}

    def started(self) -> Mapping[str, float]:
        """Nothing: it starts at once."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""

    def _generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        keys = [noise.key(request.problem_id, sample) for request in requests for sample in request.samples]
        draws_BT = torch.from_numpy(uniforms(keys, sampling.max_new_tokens)).to(self._model.device)
        decoding = _Decoding.prefill(self._model, requests, self._tokenizer.pad_token_id or 0)
        tokens_TB, log_probs_TB = [], []
        for position in range(sampling.max_new_tokens):
            tokens_B, log_probs_B = choose_tokens(
                decoding.logits_BV, sampling.temperature, draws_BT[:, position][decoding.rows_B], sampling.top_p
            )
            tokens_TB.append(decoding.scatter(tokens_B, fill=-1))
            log_probs_TB.append(decoding.scatter(log_probs_B, fill=0.0))
            decoding.alive_B &= ~torch.isin(tokens_B, self._end_ids)
            if position + 1 == sampling.max_new_tokens or not decoding.alive_B.any():
                break
            decoding.advance(self._model, tokens_B)
        return self._completions(requests, torch.stack(tokens_TB, 1).tolist(), torch.stack(log_probs_TB, 1).tolist())

    def _completions(
        self, requests: Sequence[Request], tokens_BT: list[list[int]], log_probs_BT: list[list[float]]
    ) -> list[Completion]:
        end_ids = frozenset(self._end_ids.tolist())
        owners = [(request, sample) for request in requests for sample in request.samples]
        responses = [_until_end(row, end_ids) for row in tokens_BT]
        texts = self._tokenizer.batch_decode([list(response) for response in responses], skip_special_tokens=True)
        return [
            Completion(
                problem_id=request.problem_id,
                sample=sample,
                prompt_ids=request.prompt_ids,
                response_ids=response,
                log_probs=tuple(log_probs[: len(response)]),
                text=text,
                finish_reason=FinishReason.stopped if response[-1] in end_ids else FinishReason.truncated,
            )
            for (request, sample), response, log_probs, text in zip(owners, responses, log_probs_BT, texts, strict=True)
        ]


def choose_tokens(logits_BV: Tensor, temperature: float, draws_B: Tensor, top_p: float = 1.0) -> tuple[Tensor, Tensor]:
    """The next token of each row by inverting the cumulative distribution at `draws_B`, and its log-prob.

    `top_p` below 1 draws from the nucleus alone (see `nucleus`); log-probs remain those of the whole distribution.
    Temperature 0 takes the largest logit; its log-prob is that of the untempered distribution. The k-th row depends on
    its own logits and draw alone. Raises `NonFiniteError` when a row has no distribution: its weights have diverged.
    """
    logits_BV = logits_BV.float()
    if temperature > 0:
        logits_BV = logits_BV / temperature
    log_probs_BV = logits_BV.log_softmax(dim=-1)
    if log_probs_BV.isnan().any():
        raise NonFiniteError(
            "generation: the policy's logits are not finite, so its weights have diverged; lower "
            "learner.learning_rate, or set learner.gradient_clip_norm above 0, and start the run afresh"
        )
    if temperature == 0:
        tokens_B1 = logits_BV.argmax(dim=-1, keepdim=True)
    else:
        # In fp64: an fp32 sum over a large vocabulary is off by more than many a token's probability.
        probs_BV = log_probs_BV.double().exp()
        cumulative_BV = (probs_BV if top_p >= 1 else nucleus(probs_BV, top_p)).cumsum(dim=-1)
        total_B1 = cumulative_BV[:, -1:]
        # A point below the row's own total always lies inside a token of positive probability.
        points_B1 = (draws_B[:, None] * total_B1).minimum(total_B1.nextafter(torch.zeros_like(total_B1)))
        tokens_B1 = torch.searchsorted(cumulative_BV, points_B1, right=True)
    return tokens_B1[:, 0], log_probs_BV.gather(1, tokens_B1)[:, 0]


def nucleus(probs_BV: Tensor, top_p: float) -> Tensor:
    """The probabilities of the smallest set of tokens that together have at least `top_p`, the most probable first, and
    0 for the others; not renormalised. Of equally probable tokens the earlier ones go in (Holtzman et al. 2020)."""
    sorted_BV, order_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
    before_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
    return torch.zeros_like(probs_BV).scatter(-1, order_BV, sorted_BV * (before_BV < top_p))


@dataclass(slots=True)
class _Decoding:
    """The rows still being decoded: `rows_B` are their places among all `total` responses of the chunk."""

    cache: DynamicCache
    logits_BV: Tensor
    rows_B: Tensor
    mask_BL: Tensor | None
    positions_B: Tensor
    alive_B: Tensor
    total: int

    @classmethod
    def prefill(cls, model: PreTrainedModel, requests: Sequence[Request], pad_id: int) -> _Decoding:
        """Run every prompt once, then give each of its samples a copy of the cache."""
        ids_PL, mask_PL = left_pad([request.prompt_ids for request in requests], pad_id, model.device)
        padded = not bool(mask_PL.all())
        positions_PL = (mask_PL.cumsum(dim=1) - 1).clamp_(min=0)
        cache = DynamicCache(config=model.config)
        logits_PV = model(
            input_ids=ids_PL,
            attention_mask=mask_PL if padded else None,
            position_ids=positions_PL,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        counts = torch.tensor([len(request.samples) for request in requests], device=model.device)
        owner_B = torch.repeat_interleave(torch.arange(len(requests), device=model.device), counts)
        cache.batch_select_indices(owner_B)
        return cls(
            cache=cache,
            logits_BV=logits_PV[owner_B],
            rows_B=torch.arange(len(owner_B), device=model.device),
            mask_BL=mask_PL[owner_B] if padded else None,
            positions_B=positions_PL[owner_B, -1],
            alive_B=torch.ones_like(owner_B, dtype=torch.bool),
            total=len(owner_B),
        )

    def scatter(self, values_B: Tensor, fill: float) -> Tensor:
        """`values_B` at their rows among all responses, `fill` elsewhere."""
        return values_B.new_full((self.total,), fill).index_copy_(0, self.rows_B, values_B)

    def advance(self, model: PreTrainedModel, tokens_B: Tensor) -> None:
        """Feed the chosen tokens. Finished rows decode on unseen until they are half of the batch."""
        if int(self.alive_B.sum()) * 2 <= len(self.alive_B):
            tokens_B = self._keep(self.alive_B.nonzero()[:, 0], tokens_B)
        self.positions_B = self.positions_B + 1
        if self.mask_BL is not None:
            self.mask_BL = torch.cat([self.mask_BL, self.mask_BL.new_ones(len(tokens_B), 1)], dim=1)
        self.logits_BV = model(
            input_ids=tokens_B[:, None],
            attention_mask=self.mask_BL,
            position_ids=self.positions_B[:, None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def _keep(self, chosen: Tensor, tokens_B: Tensor) -> Tensor:
        self.cache.batch_select_indices(chosen)
        self.rows_B, self.positions_B = self.rows_B[chosen], self.positions_B[chosen]
        self.alive_B = self.alive_B[chosen]
        if self.mask_BL is not None:
            self.mask_BL = self.mask_BL[chosen]
        return tokens_B[chosen]


def left_pad(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask (1 on real tokens), both [P, L], with every row's last token in the last column."""
    length = max(len(row) for row in rows)
    ids_PL = torch.tensor([[pad_id] * (length - len(row)) + list(row) for row in rows], device=device)
    mask_PL = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids_PL, mask_PL


def _chunks(requests: Sequence[Request], batch_responses: int) -> Iterator[list[Request]]:
    """Consecutive requests of at most `batch_responses` responses together; a larger request stands alone."""
    chunk: list[Request] = []
    size = 0
    for request in requests:
        if chunk and size + len(request.samples) > batch_responses:
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += len(request.samples)
    if chunk:
        yield chunk


def _until_end(row: list[int], end_ids: frozenset[int]) -> tuple[int, ...]:
    for index, token in enumerate(row):
        if token in end_ids:
            return tuple(row[: index + 1])
        if token < 0:
            return tuple(row[:index])
    return tuple(row)
