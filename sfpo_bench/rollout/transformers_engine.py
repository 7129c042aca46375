"""Generation with a transformers model in this process; each prompt is prefilled once per group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sfpo_bench.attention.interface import packs
from sfpo_bench.core.errors import NonFiniteError
from sfpo_bench.core.seeding import uniforms
from sfpo_bench.core.types import Completion, FinishReason, Sampling
from sfpo_bench.rollout.live_rows import LiveRows, PackedRows, PaddedRows
from sfpo_bench.rollout.protocol import NOT_FINITE, NoiseStream, Request

# Logits processed at a time: this many numbers stay in a CPU's cache between passes over them.
_BLOCK_LOGITS = 2**19
# Adjacent tokens per bucket: sampling first finds the bucket by its total probability, then the token in it.
_BUCKET = 256


class TransformersEngine:
    """Samples from `model`, at most `batch_responses` responses at a time.

    Where the model is the learner's own module, `load` copies nothing. Finished responses leave the batch once they are
    half of it.
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
        self._packs = packs(model)

    def generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        """Generate completions, in the order of the requests and, within a request, of its samples."""
        completions: list[Completion] = []
        with torch.inference_mode():
            for chunk in chunks(requests, self._batch_responses):
                completions += self._generate(chunk, sampling, noise)
        return completions

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy the weights by name, except those that share memory with the model."""
        own = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                if own[name].data_ptr() != weight.data_ptr():
                    own[name].copy_(weight)

    def free_memory(self) -> None:
        """Do nothing: the weights are the learner's, and no cache outlives a call."""

    def metrics(self) -> Mapping[str, float]:
        """Return no metrics."""
        return {}

    def started(self) -> Mapping[str, float]:
        """Return nothing: the engine has no start-up phase."""
        return {}

    def close(self) -> None:
        """Do nothing: the engine holds no resources."""

    def _generate(self, requests: Sequence[Request], sampling: Sampling, noise: NoiseStream) -> list[Completion]:
        keys = [noise.key(request.problem_id, sample) for request in requests for sample in request.samples]
        # One uniform number per response and position, from the response's key: no draw depends on the rest of the
        # batch.
        draws_BT = torch.from_numpy(uniforms(keys, sampling.max_new_tokens)).to(self._model.device)
        decoding: LiveRows
        if self._packs:
            decoding = PackedRows.prefill(self._model, requests)
        else:
            decoding = PaddedRows.prefill(self._model, requests, self._tokenizer.pad_token_id or 0)
        tokens_TB, log_probs_TB = [], []
        for position in range(sampling.max_new_tokens):
            tokens_B, log_probs_B = choose_tokens(
                decoding.logits_BV, sampling.temperature, draws_BT[:, position][decoding.rows_B], sampling.top_p
            )
            # Dropped rows get -1, which `_until_end` treats as the end.
            tokens_TB.append(decoding.scatter(tokens_B, fill=-1))
            log_probs_TB.append(decoding.scatter(log_probs_B, fill=0.0))
            decoding.alive_B &= ~torch.isin(tokens_B, self._end_ids)
            if position + 1 == sampling.max_new_tokens or not decoding.alive_B.any():
                break
            decoding.drop_finished()
            decoding.advance(self._model, tokens_TB[-1][decoding.rows_B])
        return self._completions(requests, torch.stack(tokens_TB, 1).tolist(), torch.stack(log_probs_TB, 1).tolist())

    def _completions(
        self, requests: Sequence[Request], tokens_BT: list[list[int]], log_probs_BT: list[list[float]]
    ) -> list[Completion]:
        end_ids = frozenset(self._end_ids.tolist())
        owners = [(request, sample) for request in requests for sample in request.samples]
        responses = [_until_end(row, end_ids) for row in tokens_BT]
        whole = [request.whole(response) for (request, _), response in zip(owners, responses, strict=True)]
        texts = self._tokenizer.batch_decode(whole, skip_special_tokens=True)
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
    """The next token of each row, by inverting the cumulative distribution at `draws_B`, and its log-prob.

    With `top_p` below 1 the token comes from the nucleus (see `nucleus`); log-probs remain those of the full
    distribution. Temperature 0 takes the argmax; its log-prob is at temperature 1. A row's result depends only on its
    logits and draw. Raises `NonFiniteError` when the logits of a row are not finite.
    """
    rows = max(1, _BLOCK_LOGITS // logits_BV.shape[1])
    chosen = [
        _choose(block_BV, temperature, block_B, top_p)
        for block_BV, block_B in zip(logits_BV.split(rows), draws_B.split(rows), strict=True)
    ]
    tokens_B, log_probs_B = (torch.cat(parts) for parts in zip(*chosen, strict=True))
    if log_probs_B.isnan().any():
        raise NonFiniteError(NOT_FINITE)
    return tokens_B, log_probs_B


def _choose(logits_BV: Tensor, temperature: float, draws_B: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Tokens and log-probs of some rows; the log-prob is NaN where the logits are not finite."""
    odds_BV = _tempered(logits_BV, temperature)
    largest_B1 = odds_BV.amax(dim=-1, keepdim=True)
    # Odds exp(z - max z) are at most 1, so sums over the vocabulary cannot overflow.
    odds_BV.sub_(largest_B1).exp_()
    buckets_BNW, ends_BN = _bucketed(odds_BV)
    normalizer_B1 = ends_BN[:, -1:]
    if temperature == 0:
        tokens_B1 = logits_BV.argmax(dim=-1, keepdim=True)
    else:
        if top_p < 1:
            buckets_BNW, ends_BN = _bucketed(nucleus(odds_BV / normalizer_B1, top_p))
        tokens_B1 = _invert(buckets_BNW, ends_BN, draws_B).clamp_(max=logits_BV.shape[1] - 1)
    chosen_B1 = _tempered(logits_BV.gather(1, tokens_B1), temperature)
    # Computed from the logit, not from summed odds, so that tiny probabilities keep full precision.
    log_probs_B1 = (chosen_B1 - largest_B1).double() - normalizer_B1.log()
    return tokens_B1[:, 0], log_probs_B1[:, 0].to(odds_BV.dtype)


def _tempered(logits: Tensor, temperature: float) -> Tensor:
    """A copy of the logits in at least fp32, divided by the temperature unless it is 0."""
    copied = logits.clone() if logits.dtype == torch.float64 else logits.to(torch.float32, copy=True)
    return copied if temperature in (0.0, 1.0) else copied.div_(temperature)


def _bucketed(odds_BV: Tensor) -> tuple[Tensor, Tensor]:
    """Odds in buckets of adjacent tokens [B, N, W], and the cumulative odds at the end of each bucket [B, N], in fp64.

    The error of an fp32 sum over a large vocabulary exceeds the probability of many tokens.
    """
    width = min(_BUCKET, odds_BV.shape[1])
    # Pad the vocabulary to a multiple of W with odds of 0, which no draw can hit.
    missing = -odds_BV.shape[1] % width
    whole_BV = torch.nn.functional.pad(odds_BV, (0, missing)) if missing else odds_BV
    buckets_BNW = whole_BV.unflatten(1, (-1, width))
    return buckets_BNW, buckets_BNW.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)


def _invert(buckets_BNW: Tensor, ends_BN: Tensor, draws_B: Tensor) -> Tensor:
    """The token of each row, [B, 1], at which the cumulative odds exceed `draws_B` times their total.

    It first finds the bucket, then the token in it, which avoids most cumulative sums.
    """
    rows, count, width = buckets_BNW.shape
    # A point below the row's total always falls on a token of positive probability; the same holds within the bucket.
    points_B1 = _below(draws_B[:, None] * ends_BN[:, -1:], ends_BN[:, -1:])
    bucket_B1 = torch.searchsorted(ends_BN, points_B1, right=True).clamp_(max=count - 1)
    # Cumulative odds at the start of each bucket, which are those at the end of the preceding one.
    starts_BN = torch.nn.functional.pad(ends_BN, (1, 0))
    chosen_BW = buckets_BNW[torch.arange(rows, device=ends_BN.device), bucket_B1[:, 0]]
    inside_BW = chosen_BW.cumsum(dim=-1, dtype=torch.float64)
    rest_B1 = _below(points_B1 - starts_BN.gather(1, bucket_B1), inside_BW[:, -1:])
    return bucket_B1 * width + torch.searchsorted(inside_BW, rest_B1, right=True)


def _below(points_B1: Tensor, end_B1: Tensor) -> Tensor:
    return points_B1.minimum(end_B1.nextafter(torch.zeros_like(end_B1)))


def nucleus(probs_BV: Tensor, top_p: float) -> Tensor:
    """The probabilities of the smallest set of most probable tokens with total at least `top_p`, 0 for other tokens.

    They are not renormalised. Among equally probable tokens, earlier ones come first (Holtzman et al. 2020).
    """
    sorted_BV, order_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
    # Total probability before each token; a token is kept while this is below top_p.
    before_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
    return torch.zeros_like(probs_BV).scatter(-1, order_BV, sorted_BV * (before_BV < top_p))


def chunks(requests: Sequence[Request], batch_responses: int) -> Iterator[list[Request]]:
    """Chunks of consecutive requests with at most `batch_responses` responses; a larger request is its own chunk."""
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
