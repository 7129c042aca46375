"""Log-probs and entropies of given tokens from hidden states, without materialising all logits.

With logits z = (h W^T + b) / temperature, p = softmax(z) and the token y:

    log-prob  log p_y = z_y - logsumexp(z)              d log p_y / dz_j = [j = y] - p_j
    entropy   H = logsumexp(z) - sum_j p_j z_j          dH / dz_j        = -p_j (log p_j + H)

At most `chunk` tokens have logits at a time. Logits of a single chunk are kept in the model's format, and the backward
pass overwrites them with their gradient. With several chunks the backward pass recomputes them. Memory therefore does
not grow with vocabulary times tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Logits processed at a time: this many fp32 numbers stay in a CPU's cache between passes over them.
_BLOCK_LOGITS = 2**20


def token_statistics(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    temperature: float,
    chunk: int,
    *,
    entropy_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log-prob and entropy (nats) of each target under the head W, b at `temperature`, both [N].

    They are fp32, or fp64 for an fp64 model. Entropies are differentiable only with `entropy_gradient`.
    """
    log_probs_N, entropies_N = _TokenStatistics.apply(  # type: ignore[no-untyped-call]  # torch types no apply
        hidden_NH, weight_VH, bias_V, targets_N, temperature, chunk, entropy_gradient
    )
    return log_probs_N, entropies_N if entropy_gradient else entropies_N.detach()


class _TokenStatistics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        temperature: float,
        chunk: int,
        entropy_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        found: list[Tensor] = []
        # Not saved with `save_for_backward`: a backward pass overwrites them, and a second one recomputes them.
        ctx.kept = []
        for part in _runs(len(targets_N), chunk):
            logits_CV = torch.nn.functional.linear(hidden_NH[part], weight_VH, bias_V)
            found.append(_statistics(logits_CV, targets_N[part], temperature))
            # Keep the logits of a single chunk, in the model's format; the backward pass overwrites them.
            if len(targets_N) <= chunk and any(ctx.needs_input_grad):
                ctx.kept.append(logits_CV)
        log_probs_N, entropies_N, normalizers_N = torch.cat(found, dim=1).unbind()
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, targets_N, entropies_N, normalizers_N)
        ctx.temperature, ctx.chunk, ctx.entropy_gradient = temperature, chunk, entropy_gradient
        return log_probs_N.clone(), entropies_N.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH, bias_V, targets_N, entropies_N, normalizers_N = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        hidden_gradient_NH = torch.empty_like(hidden_NH) if wanted[0] else None
        weight_gradient_VH = bias_gradient_V = None
        for part in _runs(len(targets_N), ctx.chunk):
            # Kept by the forward pass, or recomputed chunk by chunk: at most [chunk, V] logits exist at a time.
            slope_CV = ctx.kept.pop() if ctx.kept else torch.nn.functional.linear(hidden_NH[part], weight_VH, bias_V)
            _to_slope(
                slope_CV,
                targets_N[part],
                normalizers_N[part],
                entropies_N[part],
                gradients[0][part],
                gradients[1][part] if ctx.entropy_gradient else None,
                ctx.temperature,
            )
            if hidden_gradient_NH is not None:
                # [C, V] @ [V, H], written in place.
                torch.mm(slope_CV, weight_VH, out=hidden_gradient_NH[part])
            if wanted[1]:
                if weight_gradient_VH is None:
                    weight_gradient_VH = slope_CV.T @ hidden_NH[part]
                else:
                    # Accumulate chunks in place, without a second [V, H].
                    weight_gradient_VH.addmm_(slope_CV.T, hidden_NH[part])
            if bias_V is not None and wanted[2]:
                bias_part_V = slope_CV.sum(dim=0)
                bias_gradient_V = bias_part_V if bias_gradient_V is None else bias_gradient_V.add_(bias_part_V)
        return hidden_gradient_NH, weight_gradient_VH, bias_gradient_V, None, None, None, None


def _runs(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _blocks(logits_CV: Tensor) -> list[slice]:
    return _runs(len(logits_CV), max(1, _BLOCK_LOGITS // logits_CV.shape[1]))


def _scaled(logits: Tensor, temperature: float) -> Tensor:
    """A copy of the logits in at least fp32, divided by the temperature."""
    copied = logits.clone() if logits.dtype == torch.float64 else logits.to(torch.float32, copy=True)
    return copied if temperature == 1.0 else copied.div_(temperature)


def _statistics(logits_CV: Tensor, targets_C: Tensor, temperature: float) -> Tensor:
    """Log-probs, entropies and normalizers (log-sum-exp), [3, C]."""
    found = []
    for block in _blocks(logits_CV):
        z = _scaled(logits_CV[block], temperature)
        # Subtracting the largest logit prevents overflow of exp.
        largest = z.amax(dim=1, keepdim=True)
        z -= largest
        chosen = z.gather(1, targets_C[block, None])[:, 0]
        e = z.exp()
        total = e.sum(dim=1)
        log_total = total.log()
        # A logit of minus infinity has probability 0 and must add 0, not NaN.
        mean = torch.linalg.vecdot(e, z.clamp_(min=torch.finfo(z.dtype).min)) / total
        found.append(torch.stack([chosen - log_total, log_total - mean, log_total + largest[:, 0]]))
    return torch.cat(found, dim=1)


def _to_slope(
    logits_CV: Tensor,
    targets_C: Tensor,
    normalizers_C: Tensor,
    entropies_C: Tensor,
    log_prob_gradient_C: Tensor,
    entropy_gradient_C: Tensor | None,
    temperature: float,
) -> None:
    """Overwrite the logits [C, V] with the gradient with respect to them."""
    for block in _blocks(logits_CV):
        z = _scaled(logits_CV[block], temperature)
        z -= normalizers_C[block, None]
        upstream = log_prob_gradient_C[block, None]
        if entropy_gradient_C is None:
            # -p_j g; the g of the target is added below: d log p_y / dz_j = [j = y] - p_j.
            slope = z.exp_().mul_(-upstream)
        else:
            # -p_j ((log p_j + H) g_H + g): entropy and log-prob share the factor p_j.
            p = z.exp()
            surprise = z.clamp_(min=torch.finfo(z.dtype).min).add_(entropies_C[block, None])
            slope = surprise.mul_(entropy_gradient_C[block, None]).add_(upstream).mul_(p).neg_()
        slope.scatter_add_(1, targets_C[block, None], upstream)
        logits_CV[block] = slope if temperature == 1.0 else slope.div_(temperature)
