"""A vLLM server started by the user: responses over its completions API, weights over its weight-transfer API.

    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config '{"backend": "sfpo_bench"}'
        --logprobs-mode processed_logprobs --generation-config vllm --dtype bfloat16 --max-model-len TOKENS

The server's environment must have this package installed, which provides that transfer, and must have access to
`transfer_folder`.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sfpo_bench.core.errors import ConfigError, EngineFailed
from sfpo_bench.core.types import Sampling
from sfpo_bench.rollout.vllm_backend import Draw, Drawn, checked
from sfpo_bench.rollout.weights_file import WeightsFile

if TYPE_CHECKING:
    from torch import Tensor


class ServerVllm:
    """A vLLM server at `url`, with at most `concurrency` open requests.

    `timeout_seconds` limits each request, `start_seconds` the wait for the server at the start.
    """

    def __init__(
        self, url: str, transfer_folder: Path, concurrency: int, start_seconds: float, timeout_seconds: float
    ) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ConfigError(f"rollout.server_url = {url!r}; expected an address such as http://localhost:8000")
        self._url, self._address = url, address
        self._folder = transfer_folder
        self._seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="vllm_server")
        self._model = self._wait(start_seconds)
        self._post("/init_weight_transfer_engine", {"init_info": {}})

    def _wait(self, seconds: float) -> str:
        """Wait for the server and return its name for the model."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                models = self._ask("GET", "/v1/models", None)
                return str(models["data"][0]["id"])
            except EngineFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def draw(self, draws: Sequence[Draw], sampling: Sampling, end_ids: Sequence[int]) -> list[Drawn]:
        return list(self._pool.map(lambda draw: self._draw(draw, sampling, end_ids), draws))

    def _draw(self, draw: Draw, sampling: Sampling, end_ids: Sequence[int]) -> Drawn:
        answer = self._post(
            "/v1/completions",
            {
                "model": self._model,
                "prompt": list(draw.prompt_ids),
                "max_tokens": sampling.max_new_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
                "seed": draw.seed,
                "stop_token_ids": list(end_ids),
                "logprobs": 0,
                "return_token_ids": True,
                "add_special_tokens": False,
            },
        )
        choice = answer["choices"][0]
        if choice["finish_reason"] not in ("stop", "length"):
            raise EngineFailed(
                f"{self._url} ended a response for the reason {choice['finish_reason']!r}; expected stop or length"
            )
        cached = (answer.get("usage") or {}).get("prompt_tokens_details") or {}
        return checked(
            Drawn(
                tuple(choice["token_ids"]),
                tuple(choice["logprobs"]["token_logprobs"]),
                int(cached.get("cached_tokens") or 0),
            )
        )

    def push(self, weights: Mapping[str, Tensor]) -> None:
        with WeightsFile(self._folder, weights) as path:
            self._post("/start_weight_update", None)
            self._post("/update_weights", {"update_info": {"path": str(path)}})
            self._post("/finish_weight_update", None)
        self._post("/reset_prefix_cache", None)

    def free_memory(self) -> None:
        """Do nothing: the server manages its memory."""

    def close(self) -> None:
        """Do nothing: the server belongs to the user."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _post(self, path: str, body: Mapping[str, object] | None) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None) -> Any:
        """The JSON of the server's answer. Each call opens a connection, since calls come from several threads."""
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        assert self._address.hostname is not None
        connection = kind(self._address.hostname, self._address.port, timeout=self._seconds)
        try:
            connection.request(
                method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        except TimeoutError as error:
            raise EngineFailed(
                f"{self._url}{path} did not answer within {self._seconds:g} s; look at the server, or raise "
                "rollout.timeout_seconds"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise EngineFailed(f"{self._url}{path} cannot be reached ({error}); is the server running?") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            hint = (
                '; start it with VLLM_SERVER_DEV_MODE=1 and --weight-transfer-config \'{"backend": "sfpo_bench"}\''
                if response.status == http.client.NOT_FOUND or "transfer" in text.lower()
                else ""
            )
            raise EngineFailed(f"{self._url}{path} answered {response.status}: {text[:300]}{hint}")
        return json.loads(text) if text else None
