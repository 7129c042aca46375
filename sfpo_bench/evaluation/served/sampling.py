"""The two steps of an evaluation that need the server: finding out what it is, and sampling from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.evaluation.generation import Wanted, encoded
from sfpo_bench.evaluation.prompted_problems import PromptedProblem
from sfpo_bench.evaluation.served.api import ServedPrompt
from sfpo_bench.evaluation.served.client import Retries
from sfpo_bench.evaluation.served.contact import client_of, server_record
from sfpo_bench.evaluation.served.generation import ServedGeneration
from sfpo_bench.models.load import ModelSettings, locate, revision_of
from sfpo_bench.results.evaluation import read_server, write_server
from sfpo_bench.results.sample_store import SampleStore
from sfpo_bench.rollout.encoding import encode_prompts
from sfpo_bench.settings.rollout import OpenAiRollout
from sfpo_bench.settings.sampling import SampleSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def record_server(
    rollout: OpenAiRollout,
    tokenizer: ModelSettings,
    sampling: SampleSettings,
    wanted: Sequence[Wanted],
    store: SampleStore,
) -> None:
    """Contact the server before the first of the `wanted` samples, and write `server.json`.

    Raises `ConfigError` and `EngineFailed` as `server_record` does, and `ComparisonChanged` if the store has samples of
    another server or model.
    """
    prompts = _prompts(rollout, tokenizer, wanted)
    write_server(store, server_record(rollout, list(prompts.values()), sampling.sampling()))


def generate_served(
    rollout: OpenAiRollout,
    tokenizer: ModelSettings,
    sampling: SampleSettings,
    wanted: Sequence[Wanted],
    store: SampleStore,
    stop: StopRequest,
    done: Callable[[int], None],
) -> None:
    """Generate `wanted` into the store; raises what `ServedGeneration.run` raises."""
    server = read_server(store)
    if server is None:
        raise MissingDataError(f"{store.server_file} is not there; evaluate again, which asks the server anew")
    client = client_of(rollout, Retries(rollout.retry_seconds))
    generation = ServedGeneration(
        client=client,
        server=server,
        prompts=_prompts(rollout, tokenizer, wanted),
        sampling=sampling.sampling(),
        seed=sampling.seed,
        concurrency=rollout.concurrency,
        batch_responses=rollout.batch_responses,
    )
    try:
        with stop.listening():
            generation.run(wanted, store, stop, done)
    finally:
        client.close()


def _prompts(rollout: OpenAiRollout, tokenizer: ModelSettings, wanted: Sequence[Wanted]) -> Mapping[str, ServedPrompt]:
    """Return each prompt by its hash: as token ids if a tokenizer is set, else as messages or text."""
    if not rollout.tokenizer:
        return {one.prompted.prompt_sha256: one.prompted.prompt.content for one in wanted}
    loaded = _tokenizer(tokenizer)

    def encode(prompted_problems: Sequence[PromptedProblem]) -> Sequence[tuple[int, ...]]:
        return encode_prompts(loaded, [prompted.prompt for prompted in prompted_problems])

    return encoded(wanted, encode, rollout.max_prompt_tokens)


def _tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    place = locate(settings)
    try:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            place, revision=revision_of(settings) or "main", trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise MissingDataError(
            f"the tokenizer {place} could not be loaded: {str(error).splitlines()[0]} Name a folder with its files in "
            "rollout.tokenizer, or leave it empty, which sends messages"
        ) from error
    return found
