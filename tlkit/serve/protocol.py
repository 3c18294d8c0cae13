"""uvicorn's HTTP/1.1, with limits on how long a client may take to say what it wants, and to take its answer.

uvicorn waits for ever for the end of a header, and for a client that does not read, so that a few slow clients could
take all connections ("slow loris"). How long a body may take is limited where it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class PatientProtocol(H11Protocol):
    """A connection that is closed if no whole header arrives in time, or the answer is not taken."""

    seconds_to_ask: ClassVar[float] = 10.0
    most_connections: ClassVar[int] = 4096
    seconds_to_take: ClassVar[float] = 60.0  # the system's buffers hold what a reader on a slow line has not taken yet

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @classmethod
    def limited(cls, most: int) -> type[PatientProtocol]:
        """Return the same with a limit of connections at a time."""
        return type("LimitedProtocol", (cls,), {"most_connections": most})

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request; one connection too many is told so at once."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.write(_FULL)
            transport.close()
            self._end_if_closing()
            return
        self._follow()

    def data_received(self, data: bytes) -> None:
        """Take data, and wait no longer once a header is whole."""
        if self.transport.is_closing():  # one too many, or given up
            return
        super().data_received(data)
        self._follow()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read."""
        super().pause_writing()
        self._after("take", self.seconds_to_take, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no longer: it reads."""
        super().resume_writing()
        self._forget("take")

    def on_response_complete(self) -> None:
        """Follow a connection that was told to end, which it only does once everything was taken."""
        super().on_response_complete()
        self._end_if_closing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        super().timeout_keep_alive_handler()
        self._end_if_closing()

    def shutdown(self) -> None:
        """Close the connection, after the request that has begun, because the server ends."""
        super().shutdown()
        self._end_if_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for name in list(self._timers):
            self._forget(name)
        super().connection_lost(exc)

    def _follow(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.transport.is_closing():
            self._forget("ask")
        else:
            self._after("ask", self.seconds_to_ask, self._give_up)

    def _give_up(self) -> None:
        self._forget("ask")
        self.transport.close()
        self._end_if_closing()

    def _end_if_closing(self) -> None:
        if self.transport.is_closing():
            self._after("end", self.seconds_to_take, self.transport.abort)

    def _after(self, name: str, seconds: float, do: Callable[[], None]) -> None:
        """Do something later, unless it is to be done already."""
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(seconds, do)

    def _forget(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
