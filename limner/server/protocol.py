"""uvicorn's connection with limits of its own: time for headers, for reading answers, and number.

uvicorn waits for ever for the rest of a header and for a client that does not read.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_BYTES = 16 * 1024
HEADER_SECONDS = 10.0
READ_SECONDS = 15.0  # for a client to take some of the answer
CONNECTIONS = 512  # above it the one that has waited longest for a header goes
_BODY = (
    b'{"error": {"message": "the request is not valid HTTP/1.1", '
    b'"type": "invalid_request_error", "param": null, "code": "bad_request"}}'
)
_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class GuardedProtocol(H11Protocol):
    """One connection; those that wait for a header stand in `waiting`, the oldest first."""

    header_seconds: ClassVar[float] = HEADER_SECONDS
    read_seconds: ClassVar[float] = READ_SECONDS
    connections_limit: ClassVar[int] = CONNECTIONS

    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a header; where there are too many, the oldest such wait ends."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self.connections_limit:
            idle = [
                (timer.when(), id(each), each)
                for each in self.connections
                if isinstance(each, GuardedProtocol) and (timer := each._timer) is not None
            ]
            if idle:
                _, _, oldest = min(idle)
                oldest._stop("_timer")  # so that the next one is another
                oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop("_timer")
        self._stop("_reading")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a header must be whole in its time, whatever drips in."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next header."""
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, once, in our own form."""
        cycle: Any = self.cycle  # None before the first request
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_REFUSAL)
        self.transport.close()

    def pause_writing(self) -> None:
        """The client is slower than we: see that it takes some of it in time."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stop("_reading")
        super().resume_writing()

    def _watch(self) -> None:
        """Give a header its time while one is awaited, and a request as long as it takes."""
        cycle: Any = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering or self.transport.is_closing():
            self._stop("_timer")
        elif self._timer is None:
            self._timer = self.loop.call_later(self.header_seconds, self._late)

    def _late(self) -> None:
        self._timer = None
        self.transport.abort()

    def _expect_reading(self) -> None:
        self._stop("_reading")
        left = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self.read_seconds, self._check_reading, left)

    def _check_reading(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._expect_reading()
        else:
            self.transport.abort()

    def _stop(self, name: str) -> None:
        timer = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)
