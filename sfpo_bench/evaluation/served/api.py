"""Requests and responses of OpenAI's API.

A prompt that is token ids or text goes to `/completions`, chat messages go to `/chat/completions`, where the server
writes the model's template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from sfpo_bench.core.errors import EngineFailed
from sfpo_bench.core.types import FinishReason, Message, Sampling
from sfpo_bench.evaluation.served.client import ServerRefused

ServedPrompt = tuple[int, ...] | tuple[Message, ...] | str
# The upper bits of a noise key that are sent as seed: every server reads a positive 32-bit number.
_SEED_BITS = 31
# Outside OpenAI's own API. Without them servers sample by the defaults of the model's folder (vLLM, SGLang) or their
# own (llama.cpp: top-k 40), and not from the distribution that temperature and top-p say.
_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_LIMIT, _OTHER_LIMIT = "max_tokens", "max_completion_tokens"
_OPTIONAL = ("seed", *_NEUTRAL)
# A content filter cuts a response short, as the limit does.
_REASONS = {
    "stop": FinishReason.stopped,
    "length": FinishReason.truncated,
    "content_filter": FinishReason.truncated,
}


@dataclass(frozen=True, slots=True)
class Response:
    """A response; `tokens` is None where the server did not count them. `model` and `fingerprint` are its own words."""

    text: str
    finish_reason: FinishReason
    tokens: int | None
    model: str
    fingerprint: str


def path_of(prompt: ServedPrompt) -> str:
    """Return the call that a prompt goes to."""
    return "/chat/completions" if _is_chat(prompt) else "/completions"


def body_of(
    prompt: ServedPrompt, model: str, sampling: Sampling, noise_key: int, refused: Collection[str]
) -> dict[str, object]:
    """Return the request for one response, without the `refused` parameters."""
    messages = [{"role": turn.role, "content": turn.content} for turn in prompt if isinstance(turn, Message)]
    optional = {"seed": noise_key >> (64 - _SEED_BITS), **_NEUTRAL}
    return {
        "model": model,
        **({"messages": messages} if _is_chat(prompt) else {"prompt": prompt}),
        _OTHER_LIMIT if _LIMIT in refused else _LIMIT: sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        **{name: value for name, value in optional.items() if name not in refused},
    }


def read_response(answer: Mapping[str, object], where: str) -> Response:
    """Return the only response of an answer; raises `EngineFailed` for an answer of another shape."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    content = choice if isinstance(choice, dict) else {}
    message = content.get("message", {"content": content.get("text")})
    text = message.get("content", 0) if isinstance(message, dict) else 0
    # Null is the text of a response that was cut while the model still reasoned.
    if not (isinstance(text, str) or (text is None and "message" in content)):
        raise EngineFailed(
            f"{where} answered in another shape: found {str(dict(answer))[:200]}, expected one entry in choices, with "
            "a text or a message"
        )
    reason = content.get("finish_reason")
    if reason not in _REASONS:
        raise EngineFailed(f"{where} ended a response by {reason!r}; expected {', '.join(_REASONS)}")
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return Response(
        text=text or "",
        finish_reason=_REASONS[str(reason)],
        tokens=tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0 else None,
        model=_word(answer, "model"),
        fingerprint=_word(answer, "system_fingerprint"),
    )


def negotiate(ask: Callable[[Collection[str]], Response]) -> tuple[tuple[str, ...], Response]:
    """Return the parameters that the server refuses, and its response without them.

    `ask` sends a request without some parameters. A refusal that names none that can be left out is raised.
    """
    refused: tuple[str, ...] = ()
    while True:
        try:
            return refused, ask(refused)
        except ServerRefused as error:
            named = [name for name in _OPTIONAL if re.search(rf"\b{name}\b", error.quoted)]
            named += [_LIMIT] if "unsupported" in error.quoted.lower() and _OTHER_LIMIT in error.quoted else []
            new = [name for name in named if name not in refused]
            if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY) or not new:
                raise
            refused = (*refused, *new)


def _is_chat(prompt: ServedPrompt) -> bool:
    return any(isinstance(turn, Message) for turn in prompt[:1])


def _word(answer: Mapping[str, object], name: str) -> str:
    found = answer.get(name)
    return found if isinstance(found, str) else ""
