"""A server with OpenAI's API on loopback, made with werkzeug: it answers by the seed alone, and fails on demand."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

Body = Mapping[str, Any]
# Of a request's body and how often this body was asked before: None to answer, or how to fail.
Fault = Callable[[Body, int], str | None]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


def text_of(seed: int) -> str:
    """The text of the response to a seed."""
    return f"So it is \\boxed{{{seed % 7}}}."


@dataclass
class Server:
    """`asked` holds the bodies of all requests for responses, `given` those that were answered in full."""

    url: str = ""
    fault: Fault = lambda body, before: None
    models: tuple[str, ...] = ("m",)
    weights: str = "folder/m"
    refused: tuple[str, ...] = ()
    key: str = ""
    counts_tokens: bool = True
    answers_as: str | None = None
    gate: threading.Barrier | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    given: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        request = Request(environ)
        response = self._answer(request)
        if response is None:
            with suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return Response(status=500)(environ, start)
        return response(environ, start)

    def _answer(self, request: Request) -> Response | None:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _error(401, f"{request.headers.get('Authorization')} is no key")
        if request.path.endswith("/models"):
            listed = [{"id": one, "root": self.weights, "owned_by": "tests"} for one in self.models]
            return _json({"data": listed})
        body = json.loads(request.get_data())
        before = self.asked.count(body)
        self.asked.append(body)
        bad = [name for name in self.refused if name in body]
        if bad:
            return _error(400, f"Unrecognized request arguments supplied: {', '.join(bad)}")
        if self.gate is not None:
            self.gate.wait(5.0)
        return self._failed(body, before) if (self.fault(body, before)) else self._given(body)

    def _failed(self, body: Body, before: int) -> Response | None:
        how = self.fault(body, before)
        if how == "drop":
            return None
        if how == "half":
            whole = json.dumps(self._content(body)).encode()
            return Response(
                whole[: len(whole) // 2],
                headers={"Content-Length": str(len(whole))},
                content_type="application/json",
            )
        if how == "half without length":
            return Response(json.dumps(self._content(body))[:20], content_type="application/json")
        if how == "other shape":
            return _json({"responses": ["a"]})
        status, _, pause = str(how).partition(" ")
        return _error(int(status), "not now", {"Retry-After": pause} if pause else {})

    def _given(self, body: dict[str, Any]) -> Response:
        self.given.append(body)
        return _json(self._content(body))

    def _content(self, body: Body) -> dict[str, Any]:
        seed = body.get("seed", 0)
        cut = seed % 5 == 0
        said: dict[str, Any] = {"finish_reason": "length" if cut else "stop"}
        if "messages" in body:
            said["message"] = {"role": "assistant", "content": text_of(seed)}
        else:
            said["text"] = text_of(seed)
        usage = {"usage": {"completion_tokens": 3 + seed % 4, "prompt_tokens": 9}} if self.counts_tokens else {}
        named = body["model"] if self.answers_as is None else self.answers_as
        return {"model": named, "system_fingerprint": "fp", "choices": [said], **usage}


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(content), status, dict(headers or {}), content_type="application/json")


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json({"error": {"message": message}}, status, headers)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server, listening on a free port of loopback."""
    made = make_server("127.0.0.1", 0, server, threaded=True, request_handler=_Quiet)
    server.url = f"http://127.0.0.1:{made.server_port}/v1"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        made.shutdown()
        thread.join(10.0)
        made.server_close()
