"""HTTP client of a server with OpenAI's API: a call is one JSON answer, repeated while the server fails to give it.

A 408, 425, 429 or 5xx, a lost connection, a timeout and half a body are repeated after a pause that doubles, or that
the server asks for by `Retry-After`, until `Retries.seconds` have passed since the first failure. All else is final.
"""

from __future__ import annotations

import email.utils
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from sfpo_bench.core.errors import EngineFailed
from sfpo_bench.core.seeding import uniforms

if TYPE_CHECKING:
    import httpx2

_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_QUOTED = 300  # characters of a server's message


class ServerRefused(EngineFailed):
    """The server answered, and would answer the same again; `quoted` is what it said."""

    def __init__(self, message: str, status: int, quoted: str) -> None:
        super().__init__(message)
        self.status, self.quoted = status, quoted


class Halted(Exception):
    """The client was halted while a call waited to be repeated."""


class _Failure(Exception):
    """A failure that may pass. `pause` is what the server asks for, in seconds; `lost`: it may be another one now."""

    def __init__(self, message: str, pause: float = 0.0, lost: bool = False) -> None:
        super().__init__(message)
        self.pause, self.lost = pause, lost


@dataclass(frozen=True, slots=True)
class Retries:
    """How a failed call is repeated: for `seconds` after its first failure, after pauses that double up to a limit.

    `remedy` is what to do when that was not enough.
    """

    seconds: float
    first_pause: float = 0.5
    longest_pause: float = 30.0
    remedy: str = "Look at the server, raise rollout.retry_seconds, or lower rollout.concurrency"

    def pause(self, attempt: int, key: int) -> float:
        """Seconds before the next attempt, between half and all of the doubled pause, so that calls spread out."""
        whole = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt, 60))
        return whole * (1.0 + float(uniforms([key], 1, attempt)[0, 0])) / 2.0


class OpenAiClient:
    """Calls a server at `base_url`, from several threads at once; `key` is sent as a bearer token, never quoted."""

    def __init__(self, base_url: str, key: str, timeout_seconds: float, retries: Retries, connections: int) -> None:
        import httpx2

        self.base_url = base_url
        self._key, self._seconds, self._retries = key, timeout_seconds, retries
        self._halt = threading.Event()
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(timeout_seconds, pool=None),
            limits=httpx2.Limits(max_connections=connections),
        )

    def ask(
        self,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        key: int = 0,
        reconnected: Callable[[], None] = lambda: None,
    ) -> Mapping[str, object]:
        """Return the answer to a POST of `body`, or to a GET without one.

        `key` spreads the pauses of calls. `reconnected` is called before a call is repeated after a lost connection.
        Raises `ServerRefused`, `EngineFailed` after the last attempt, and `Halted`.
        """
        attempt, give_up, lost = 0, float("inf"), False
        while True:
            try:
                if lost:
                    reconnected()
                return self.ask_once(path, body)
            except _Failure as failure:
                now, lost = time.monotonic(), lost or failure.lost
                give_up = min(give_up, now + self._retries.seconds)
                pause = max(failure.pause, self._retries.pause(attempt, key))
                if now + pause > give_up:
                    wish = f" and asks to wait {failure.pause:.0f} s" if failure.pause else ""
                    raise EngineFailed(
                        f"{failure}{wish}; tried {attempt + 1} times, for at most {self._retries.seconds:g} s. "
                        f"{self._retries.remedy}"
                    ) from failure
                attempt += 1
                if self._halt.wait(pause):
                    raise Halted from failure

    def ask_once(self, path: str, body: Mapping[str, object] | None = None) -> Mapping[str, object]:
        """Like `ask`, without repetition: raises what `ask` repeats."""
        url = f"{self.base_url}{path}"
        response, content = self._exchange(url, body)
        text = content.decode("utf-8", "replace")
        quoted = self._quoted(text)
        if response.status_code != HTTPStatus.OK:
            _refuse(url, response.status_code, quoted, _asked_pause(response.headers.get("retry-after", "")))
        if "json" not in response.headers.get("content-type", "application/json").lower():
            raise ServerRefused(f"{url} answered no JSON: {quoted}", response.status_code, quoted)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise _Failure(f"{url} answered half of its JSON", lost=True) from None
        if not isinstance(found, dict):
            raise ServerRefused(f"{url} answered {quoted}; expected an object", response.status_code, quoted)
        if isinstance(error := found.get("error"), dict):  # some gateways answer 200 all the same
            code = error.get("code")
            _refuse(url, code if isinstance(code, int) else int(HTTPStatus.BAD_REQUEST), quoted, 0.0)
        return found

    def _exchange(self, url: str, body: Mapping[str, object] | None) -> tuple[httpx2.Response, bytes]:
        import httpx2

        started, content = time.monotonic(), bytearray()
        late = f"{url} did not answer within rollout.timeout_seconds = {self._seconds:g}"
        try:
            with self._http.stream("GET" if body is None else "POST", url, json=body) as response:
                for part in response.iter_bytes():
                    content += part
                    if time.monotonic() - started > self._seconds:  # httpx limits each read, not their sum
                        raise _Failure(late)
                return response, bytes(content)
        except httpx2.TimeoutException as error:
            raise _Failure(late) from error
        except httpx2.HTTPError as error:
            raise _Failure(f"{url} cannot be reached, or broke off ({self._quoted(str(error))})", lost=True) from error

    def _quoted(self, text: str) -> str:
        short = " ".join((text.replace(self._key, "…") if self._key else text).split())
        return short if len(short) <= _QUOTED else f"{short[:_QUOTED]}…"

    def halt(self) -> None:
        """End the pauses of calls that wait to be repeated; open requests go on."""
        self._halt.set()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _refuse(url: str, status: int, quoted: str, pause: float) -> None:
    """Raise the failure that an answer with this status is: one that may pass, or a refusal."""
    message = f"{url} answered {status}: {quoted}"
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _Failure(message, pause)
    raise ServerRefused(message, status, quoted)


def _asked_pause(text: str) -> float:
    """Return the seconds of a `Retry-After`: a number, or a date; 0 for neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
