"""vLLM in this process, beside the learner or in a child process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfpo_bench.core.errors import EngineFailed
from sfpo_bench.core.types import Sampling
from sfpo_bench.rollout.vllm_backend import Draw, Drawn, Launch, checked

if TYPE_CHECKING:
    from torch import Tensor

_KEY = "push"


class InProcessVllm:
    """A `vllm.LLM` with vLLM's weight-transfer interface.

    It starts with random weights; the first `push` loads the real ones. A hang in vLLM blocks this process; it can be
    detected only from outside (`placement=child_process`).
    """

    def __init__(self, launch: Launch) -> None:
        import torch
        from vllm import LLM
        from vllm.config import WeightTransferConfig

        from sfpo_bench.rollout.vllm_plugin import BACKEND, register

        register()
        self._sleeps = launch.sleep and launch.device.startswith("cuda")
        more: dict[str, Any] = {}  # keyword arguments of vLLM
        if not launch.device.startswith("cuda"):
            # The responses of a group share whole blocks of the prompt; vLLM's default on a CPU is 128 tokens.
            more["block_size"] = 32
        else:
            free, total = torch.cuda.mem_get_info()
            more |= {"gpu_memory_utilization": 0.95 * free / total, "enable_sleep_mode": self._sleeps}
        with _failures("starting it"):
            self._llm = LLM(
                launch.model,
                revision=launch.revision or None,
                dtype=launch.dtype,
                hf_overrides=dict(launch.overrides),
                load_format="dummy",
                max_model_len=launch.max_model_tokens,
                max_num_seqs=launch.max_sequences,
                max_num_batched_tokens=max(8192, launch.max_sequences, launch.max_model_tokens),
                kv_cache_memory_bytes=launch.kv_cache_bytes,
                enforce_eager=not launch.compile_model,
                enable_prefix_caching=True,
                generation_config="vllm",
                skip_tokenizer_init=True,
                # Log-probs of the sampling distribution: after temperature, top-p and top-k.
                logprobs_mode="processed_logprobs",
                weight_transfer_config=WeightTransferConfig(backend=BACKEND),
                disable_log_stats=True,
                **more,
            )
            self._llm.init_weight_transfer_engine({"init_info": {}})

    def draw(self, draws: Sequence[Draw], sampling: Sampling, end_ids: Sequence[int]) -> list[Drawn]:
        from vllm import SamplingParams

        parameters = [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=sampling.max_new_tokens,
                seed=draw.seed,
                stop_token_ids=list(end_ids),
                logprobs=0,
                flat_logprobs=True,
                detokenize=False,
            )
            for draw in draws
        ]
        prompts = [{"prompt_token_ids": list(draw.prompt_ids)} for draw in draws]
        with _failures("generating"):
            outputs = self._llm.generate(prompts, parameters, use_tqdm=False)
        return [self._drawn(output) for output in outputs]

    def _drawn(self, output: Any) -> Drawn:
        completion = output.outputs[0]
        if completion.finish_reason not in ("stop", "length"):
            raise EngineFailed(
                f"vLLM ended a response for the reason {completion.finish_reason!r}; expected stop or length"
            )
        # One entry per token, for the sampled one; `logprobs` of the flat container lists them in order.
        log_probs = tuple(float(value) for value in completion.logprobs.logprobs)
        return checked(Drawn(tuple(completion.token_ids), log_probs, output.num_cached_tokens or 0))

    def push(self, weights: Mapping[str, Tensor]) -> None:
        from sfpo_bench.rollout.vllm_transfer import MEMORY

        MEMORY[_KEY] = weights
        try:
            self._update({"memory": _KEY})
        finally:
            del MEMORY[_KEY]

    def push_file(self, path: Path) -> None:
        """Replace the weights by those of a safetensors file, as `push` does."""
        self._update({"path": str(path)})

    def _update(self, where: Mapping[str, str]) -> None:
        with _failures("taking over weights"):
            if self._sleeps:
                self._llm.wake_up(tags=["weights"])
            self._llm.start_weight_update()
            self._llm.update_weights({"update_info": dict(where)})
            self._llm.finish_weight_update()
            if self._sleeps:
                self._llm.wake_up(tags=["kv_cache"])
            self._llm.reset_prefix_cache()

    def free_memory(self) -> None:
        if self._sleeps:
            with _failures("going to sleep"):
                self._llm.sleep(level=2)

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()


@contextmanager
def _failures(doing: str) -> Iterator[None]:
    """Raise `EngineFailed`, with the cause, for any exception of vLLM inside the block."""
    try:
        yield
    except EngineFailed:
        raise
    except Exception as error:  # vLLM's exceptions have no common base class
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        raise EngineFailed(
            f"vLLM failed while {doing} ({cause}); see its own messages above. If memory ran out, lower "
            "rollout.kv_cache_mib or rollout.batch_responses"
        ) from error
