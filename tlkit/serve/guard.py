"""The outermost layer: request ids, the access log, headers, metrics, and the last line of defence against defects."""

from __future__ import annotations

import json
import re
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tlkit.errors import TlkitError
from tlkit.libraries import missing_library
from tlkit.serve.answers import refused_response
from tlkit.serve.metrics import Metrics
from tlkit.serve.refusal import BUSY, Refused

ID_HEADER = "x-request-id"
LEFT = 499  # in the log and the metrics: the client went away; nginx has the same code
DRAIN_SECONDS, DRAIN_BYTES = 2.0, 64 << 20  # how much of a refused body is read, so that the client reads the answer

_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
Log = Callable[[dict[str, Any]], None]


def log_line(entry: dict[str, Any]) -> None:
    """Write one entry of the access log to stderr, as a line of JSON."""
    print(json.dumps(entry), file=sys.stderr, flush=True)  # noqa: T201


class Guard:
    """Middleware around everything.

    Args:
        app: What is inside.
        metrics: Where requests are counted.
        endpoints: The name of each endpoint's function, for metrics: there must not be one for each address.
        log: Takes the entries of the access log.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, endpoints: dict[Any, str], log: Log = log_line) -> None:
        self._app = app
        self._metrics = metrics
        self._endpoints = endpoints
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = _Answering(scope, receive, send)
        try:
            await self._app(scope, answering.receive, answering.send)
        except ClientDisconnect:
            answering.status = LEFT
        except Exception as error:  # noqa: BLE001  (the last line of defence)
            await answering.fail(error)
        self._end(scope, answering)

    def _end(self, scope: Scope, answering: _Answering) -> None:
        seconds = time.perf_counter() - answering.began
        endpoint = self._endpoints.get(scope.get("endpoint"), "other")
        self._metrics.request(endpoint, answering.status, seconds)
        client = scope.get("client")
        self._log(
            {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "request_id": answering.id,
                "client": str(client[0])[:64] if client else None,
                "method": scope["method"][:20],
                "path": scope["path"][:200],  # without parameters
                "status": answering.status,
                "images": scope.get("tlkit.images", 0),
                "received": answering.received,
                "sent": answering.sent,
                "seconds": round(seconds, 4),
            }
        )


class _Answering:
    """One request while it is answered.

    Attributes:
        id: The request's id: the client's, if it is a plain one.
        began: Time of its begin.
        status: Status code of the response; `LEFT` if there was none.
        received: Bytes of the body read.
        sent: Bytes of the response's body.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        headers = Headers(scope=scope)
        given = headers.get(ID_HEADER, "")
        self.id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope["tlkit.request_id"] = self.id
        self.began = time.perf_counter()
        self.status, self.received, self.sent = LEFT, 0, 0
        self._has_begun = False
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._is_read = not has_body
        self._waits = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        """Pass on a part of the body."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._waits = False
            self.received += len(message.get("body", b""))
            self._is_read = self._is_read or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass on a part of the response, with the headers that all have."""
        if message["type"] == "http.response.start":
            self._has_begun = True
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers[ID_HEADER] = self.id
            if not self._is_read and not await self._drained():
                headers["Connection"] = "close"
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)

    async def _drained(self) -> bool:
        """Read the rest of a body that nobody wants: closed at once, the client would not see the answer."""
        if self._waits:  # it has not begun to send
            return False
        most = self.received + DRAIN_BYTES
        with anyio.move_on_after(DRAIN_SECONDS):
            while not self._is_read and self.received < most:
                if (await self.receive())["type"] == "http.disconnect":
                    return False
        return self._is_read

    async def fail(self, error: Exception) -> None:
        """Answer a request that could not be answered as it should be."""
        if isinstance(error, Refused):
            refused = error
        elif (lacking := missing_library(error)) is not None:
            refused = Refused(501, f"on the server, {lacking.message}")
        else:
            traceback.print_exception(error)
            if isinstance(error, TlkitError | MemoryError | OSError):  # a network that cannot run, a full system
                refused = Refused(BUSY, "the server cannot answer now; its log says why", headers={"Retry-After": "5"})
            else:
                refused = Refused(500, "a defect in tlkit; the server's log says more")
        if not self._has_begun:
            response = refused_response(refused, self.id)
            await response(self._scope, self.receive, self.send)
