"""The first contact with a server: which model it has, what it says of itself, and which parameters it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from sfpo_bench.core.errors import ConfigError, EngineFailed
from sfpo_bench.core.types import Sampling
from sfpo_bench.evaluation.served.api import Response, ServedPrompt, body_of, negotiate, path_of, read_response
from sfpo_bench.evaluation.served.client import OpenAiClient, Retries, ServerRefused
from sfpo_bench.evaluation.served.settings import api_key, base_url
from sfpo_bench.results.evaluation import ServerRecord
from sfpo_bench.settings.rollout import OpenAiRollout

# A server that does not run should be said at once, not after all of rollout.retry_seconds.
_FIRST_SECONDS = 20.0
_IS_IT_RUNNING = "Start the server, look at rollout.base_url, and run the same command again once the server answers"
_PROBE_TOKENS = 16
_MODELS = "/models"
Get = Callable[[str], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Listed:
    """A server's entry of a model in its list of models; empty where it has no list or does not say."""

    weights: str = ""
    owner: str = ""
    most_tokens: int | None = None


def client_of(rollout: OpenAiRollout, retries: Retries) -> OpenAiClient:
    """Return a client with the settings' address, key and limits."""
    return OpenAiClient(base_url(rollout), api_key(rollout), rollout.timeout_seconds, retries, rollout.concurrency)


def ask(
    client: OpenAiClient, prompt: ServedPrompt, model: str, sampling: Sampling, key: int, refused: Collection[str]
) -> Response:
    """Return a response to a prompt; raises what `OpenAiClient.ask` and `read_response` raise."""
    path = path_of(prompt)
    answer = client.ask(path, body_of(prompt, model, sampling, key, refused), key=key)
    return read_response(answer, f"{client.base_url}{path}")


def server_record(rollout: OpenAiRollout, prompts: Sequence[ServedPrompt], sampling: Sampling) -> ServerRecord:
    """Ask the server for its models and one short response to a prompt of each call that `prompts` go to.

    Raises `ConfigError` for an unknown model, a missing key, a limit over the model's and an answer of another shape,
    and `EngineFailed` if the server cannot be reached.
    """
    client = client_of(rollout, Retries(min(rollout.retry_seconds, _FIRST_SECONDS), remedy=_IS_IT_RUNNING))
    try:
        listed = listed_model(client.ask, rollout.model)
        if listed.most_tokens is not None and sampling.max_new_tokens >= listed.most_tokens:
            raise ConfigError(
                f"sampling.max_new_tokens = {sampling.max_new_tokens}, but the server takes {listed.most_tokens} "
                "tokens of prompt and response together; lower it, or serve the model with a higher limit"
            )
        short = replace(sampling, max_new_tokens=min(_PROBE_TOKENS, sampling.max_new_tokens))
        calls = {path_of(prompt): prompt for prompt in prompts}
        found = [
            negotiate(lambda refused, prompt=prompt: ask(client, prompt, rollout.model, short, 0, refused))  # type: ignore[misc]  # mypy does not infer a default of a lambda
            for prompt in calls.values()
        ]
    except ServerRefused as error:
        raise ConfigError(f"{error}. {_remedy(error, rollout)}") from error
    finally:
        client.close()
    words = sorted({response.model for _, response in found})
    if len(words) != 1:
        raise EngineFailed(f"{client.base_url} answers one model by the names {', '.join(words)}; expected one")
    return ServerRecord(
        base_url=client.base_url,
        model=rollout.model,
        weights=listed.weights,
        owner=listed.owner,
        answers_as=words[0],
        prompts="token ids" if rollout.tokenizer else "messages or text",
        refused=tuple(sorted({name for refused, _ in found for name in refused})),
        most_tokens=listed.most_tokens,
        fingerprint=found[0][1].fingerprint,
    )


def listed_model(get: Get, model: str) -> Listed:
    """Return the model's entry in the server's list; a server without a list knows the model only by its name.

    Raises `ConfigError` if the list lacks the model, and what `get` raises.
    """
    try:
        answer = get(_MODELS)
    except ServerRefused as error:
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
            return Listed()
        raise
    data = answer.get("data")
    entries = {str(one.get("id")): one for one in data if isinstance(one, dict)} if isinstance(data, list) else {}
    if model not in entries:
        names = ", ".join(sorted(entries)[:20]) or "none"
        raise ConfigError(f"rollout.model = {model}, but the server's models are: {names}; take a name of these")
    return _listed(entries[model])


def _listed(entry: Mapping[str, object]) -> Listed:
    most = entry.get("max_model_len")
    weights, owner = (found if isinstance(found := entry.get(name), str) else "" for name in ("root", "owned_by"))
    return Listed(weights, owner, most if isinstance(most, int) else None)


def _remedy(error: ServerRefused, rollout: OpenAiRollout) -> str:
    """Return what to do about a refusal of the first contact."""
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        held = f"the key in {rollout.api_key_env} was sent" if rollout.api_key_env else "no key was sent"
        return f"({held}.) Put a valid key into an environment variable and its name into rollout.api_key_env"
    if error.status == HTTPStatus.NOT_FOUND:
        return (
            "Check that rollout.base_url ends in the API's version, such as /v1, and that rollout.model is a model of "
            "it; with rollout.tokenizer, and for prompts without a chat, the server must have /completions"
        )
    return "Check rollout.base_url and rollout.model; a server that takes no token ids needs rollout.tokenizer empty"
