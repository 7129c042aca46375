"""Settings of rollouts. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.core.options import option
from sfpo_bench.core.types import Sampling


class OverLong(StrEnum):
    """What to do with a prompt over the token limit; it is never cut."""

    refuse = "refuse"
    drop = "drop"


class Placement(StrEnum):
    """Where vLLM runs: in the training process, in a child process of it, or in a server that you started."""

    in_process = "in_process"
    child_process = "child_process"
    server = "server"


@dataclass
class RolloutSettings:
    """Settings of every rollout engine."""

    kind: str = option("", "name of the rollout engine")
    prompts: int = option(32, "prompts of a training step", low=1)
    group: int = option(8, "responses to each prompt, the group of the advantages", low=1)
    temperature: float = option(
        1.0, "softmax temperature of rollouts; log-probs and ratios are taken at it too", above=0.0
    )
    max_new_tokens: int = option(512, "token limit of a response, the end-of-sequence token included", low=1)
    max_prompt_tokens: int = option(1024, "token limit of a prompt", low=1)
    over_long: OverLong = option(OverLong.refuse, "prompts over the limit: refuse to start, or drop those problems")
    batch_responses: int = option(256, "responses decoded side by side; bounds memory, never changes the noise", low=1)
    stale_steps: int = option(
        0, "training steps by which the weights that sample are behind the policy's; not with vllm", low=0
    )

    def sampling(self) -> Sampling:
        """How the responses are drawn."""
        return Sampling(self.temperature, self.max_new_tokens)

    @property
    def cut_vocabulary(self) -> bool:
        """True when responses are drawn from a part of the vocabulary."""
        return False


@dataclass
class TransformersRollout(RolloutSettings):
    """Rollouts by transformers in the training process."""

    kind: str = option("transformers", "name of the rollout engine")


@dataclass
class VllmRollout(RolloutSettings):
    """Rollouts by vLLM: in this process, in a child process, or in a server you started."""

    kind: str = option("vllm", "name of the rollout engine")
    placement: Placement = option(Placement.in_process, "where vLLM runs: in_process, child_process or server")
    server_url: str = option("", "address of the server, such as http://localhost:8000; only with placement=server")
    top_p: float = option(1.0, "nucleus of rollouts; below 1 only with learner.engine_correction", above=0.0, high=1.0)
    top_k: int = option(0, "most probable tokens kept in rollouts, 0: all; only with learner.engine_correction", low=0)
    kv_cache_mib: int = option(256, "memory of the key-value cache, in MiB", low=8)
    compile_model: bool = option(False, "let vLLM compile the model: faster steps, about a minute more to start")
    sleep: bool = option(True, "on a GPU, give weights and cache back to the learner during the update")
    timeout_seconds: float = option(
        1800.0, "longest silence in a generation or a push; an engine silent for longer counts as hung", above=0.0
    )
    start_seconds: float = option(600.0, "longest start of the engine", above=0.0)
    restarts: int = option(
        0, "times a dead or hung engine is started again before the run ends; not with placement=in_process", low=0
    )
    check_sync: bool = option(
        True, "at the start, push halved weights and back, so that a push that does nothing shows"
    )
    parity_every: int = option(20, "steps between comparisons of the engine's log-probs with the trainer's", low=1)
    parity_responses: int = option(4, "responses in such a comparison", low=1)
    parity_bound: float = option(
        0.0, "largest difference of a log-prob before the run stops, nats; 0: 0.001 in float32, 1 in bfloat16", low=0.0
    )
    transfer_folder: str = option(
        "/dev/shm", "folder through which weights reach another process; server and trainer must both see it"
    )

    def sampling(self) -> Sampling:
        """How the responses are drawn."""
        return Sampling(self.temperature, self.max_new_tokens, self.top_p, self.top_k)

    @property
    def cut_vocabulary(self) -> bool:
        """True when responses are drawn from a part of the vocabulary."""
        return self.top_p < 1 or self.top_k > 0
