"""Settings of rollouts, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.options import option
from sfpo_bench.core.types import Sampling


class OverLong(StrEnum):
    """The handling of a prompt over the token limit, which is never truncated."""

    refuse = "refuse"
    drop = "drop"


class Placement(StrEnum):
    """The location of vLLM: the training process, a child process, or a server that the user started."""

    in_process = "in_process"
    child_process = "child_process"
    server = "server"


@dataclass
class RolloutSettings:
    """Settings of every rollout engine."""

    kind: str = option("", "name of the rollout engine")
    prompts: int = option(32, "prompts per training step", low=1)
    group: int = option(8, "responses per prompt, which form the group of the advantages", low=1)
    temperature: float = option(1.0, "softmax temperature of rollouts, log-probs and ratios", above=0.0)
    max_new_tokens: int = option(512, "token limit of a response, including the end-of-sequence token", low=1)
    max_prompt_tokens: int = option(1024, "token limit of a prompt", low=1)
    over_long: OverLong = option(OverLong.refuse, "prompts over the limit: refuse to start, or drop those problems")
    batch_responses: int = option(256, "responses decoded in parallel; limits memory, never changes the noise", low=1)
    stale_steps: int = option(
        0, "lag of the sampling weights behind the policy's, in training steps; not with vllm", low=0
    )

    def sampling(self) -> Sampling:
        """The sampling parameters of rollouts."""
        return Sampling(self.temperature, self.max_new_tokens)

    @property
    def cut_vocabulary(self) -> bool:
        """True when top-p or top-k truncates the distribution."""
        return False


@dataclass
class TransformersRollout(RolloutSettings):
    """Rollouts by transformers in the training process."""

    kind: str = option("transformers", "name of the rollout engine")


@dataclass
class VllmRollout(RolloutSettings):
    """Rollouts by vLLM in this process, a child process, or a server."""

    kind: str = option("vllm", "name of the rollout engine")
    placement: Placement = option(Placement.in_process, "location of vLLM: in_process, child_process or server")
    server_url: str = option("", "address of the server, such as http://localhost:8000; only with placement=server")
    top_p: float = option(1.0, "top-p of rollouts; below 1 only with learner.engine_correction", above=0.0, high=1.0)
    top_k: int = option(0, "top-k of rollouts, 0: off; only with learner.engine_correction", low=0)
    kv_cache_mib: int = option(256, "memory of the key-value cache, in MiB", low=8)
    compile_model: bool = option(False, "let vLLM compile the model: faster steps, about a minute more to start")
    sleep: bool = option(True, "on a GPU, free the memory of weights and cache during the update")
    timeout_seconds: float = option(
        1800.0, "time limit of a generation or weight sync, after which the engine counts as hung", above=0.0
    )
    start_seconds: float = option(600.0, "time limit of the engine's start", above=0.0)
    restarts: int = option(
        0, "largest number of restarts of a crashed or hung engine; not with placement=in_process", low=0
    )
    check_sync: bool = option(
        True, "at the start, sync halved weights and check the log-probs, to detect a sync without effect"
    )
    parity_every: int = option(20, "steps between parity checks of the engine's log-probs against the trainer's", low=1)
    parity_responses: int = option(4, "responses per parity check", low=1)
    parity_bound: float = option(
        0.0, "largest accepted log-prob difference, nats; 0: 0.001 in float32, 1 in bfloat16", low=0.0
    )
    transfer_folder: str = option(
        "/dev/shm", "folder for passing weights to another process; server and trainer must share it"
    )

    def sampling(self) -> Sampling:
        """The sampling parameters of rollouts."""
        return Sampling(self.temperature, self.max_new_tokens, self.top_p, self.top_k)

    @property
    def cut_vocabulary(self) -> bool:
        """True when top-p or top-k truncates the distribution."""
        return self.top_p < 1 or self.top_k > 0


@dataclass
class OpenAiRollout(RolloutSettings):
    """Responses of a model that a server with OpenAI's API serves; only for `evaluate`."""

    kind: str = option("openai", "name of the rollout engine")
    base_url: str = option("", "address of the API with its version and without a key: http://localhost:8000/v1")
    model: str = option("", "name of the model on the server")
    tokenizer: str = option(
        "",
        "folder or hub name of the model's tokenizer: prompts are sent as its token ids; empty: as messages or text",
    )
    api_key_env: str = option("", "environment variable that holds the API key; empty: no key is sent")
    concurrency: int = option(16, "requests open at once", low=1)
    batch_responses: int = option(
        32, "responses written at a time; a kill loses at most these and the open ones", low=1
    )
    timeout_seconds: float = option(600.0, "time limit of a request", above=0.0)
    retry_seconds: float = option(
        600.0, "how long a request is repeated after a 429, a 5xx or a lost connection, before the call ends", low=0.0
    )
