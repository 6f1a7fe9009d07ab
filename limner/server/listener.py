"""A port, and uvicorn behind our own limits on it, which ends when it is told to.

Every page of limner is served by this, whatever application stands behind its gate.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from limner.errors import UsageError, quote
from limner.server.gate import Gate
from limner.server.protocol import HEADER_BYTES, GuardedProtocol

BACKLOG = 512
_GRACE = 5.0  # seconds for answers to go out after the drain


async def _nothing() -> None:
    return


class Listener:
    """Takes a port at once, and serves on it when asked.

    `drain` is how many seconds what was accepted may take after a stop. Raises UsageError for a
    host or port that can't be had.
    """

    def __init__(self, host: str, port: int, drain: float = 5.0) -> None:
        self.socket = bind(host, port)
        self.port = int(self.socket.getsockname()[1])
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self.port}"
        self.drain = drain
        self._stop: tuple[Callable[[], None], asyncio.AbstractEventLoop] | None = None
        self._asked = threading.Event()  # to stop; the serving may not have begun

    async def serve(
        self,
        gate: Gate,
        *,
        begin: Callable[[], Awaitable[None]] = _nothing,
        end: Callable[[], Awaitable[None]] = _nothing,
        started: Callable[[], None] = lambda: None,
        stopping: Callable[[], None] = lambda: None,
        late: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve until SIGTERM, Ctrl-C or `request_stop`; signals count in the main thread.

        `begin` runs while the first requests come, and what it raises ends the serving; `started`
        follows it. `end` comes after the last request, `stopping` when nothing new is accepted any
        more, `late` when the drain is over.
        """
        inner = _Uvicorn(self._settings(gate))
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if not inner.should_exit:
                gate.draining = inner.should_exit = True
                stopping()
                loop.call_later(self.drain, late)

        async def beginning() -> None:
            try:
                await begin()
                started()
            except BaseException:
                gate.draining = inner.should_exit = True
                raise

        self._stop = stop, loop
        if self._asked.is_set():
            stop()
        with _signals(loop, stop):
            task = loop.create_task(beginning())
            try:
                await inner.answer([self.socket])
                if task.done():
                    task.result()  # or what it raised
            finally:
                task.cancel()
                await end()

    def request_stop(self) -> None:
        """Let the serving end, as SIGTERM does; any thread may ask, before it begins or after."""
        self._asked.set()
        if self._stop is not None and not self._stop[1].is_closed():
            stop, loop = self._stop
            loop.call_soon_threadsafe(stop)

    def close(self) -> None:
        """Let go of the port."""
        self.socket.close()

    def _settings(self, gate: Gate) -> uvicorn.Config:
        return uvicorn.Config(
            gate,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_graceful_shutdown=int(self.drain + _GRACE),
        )


class _Uvicorn(uvicorn.Server):
    """uvicorn without its own signals, which would end the process by them."""

    async def answer(self, sockets: list[socket.socket]) -> None:
        """Serve on open sockets until `should_exit`."""
        await self._serve(sockets)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; UsageError for a host or port that can't be had."""
    try:
        if not 0 <= port <= 65535:  # which getaddrinfo would take for another
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(BACKLOG)
        except BaseException:
            bound.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"cannot serve on {quote(host)} port {port}: {reason}; give another --port",
            param="port",
        ) from error
    return bound


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the serving; a second one is as ever."""
    before: dict[int, Any] = {}

    def leave(number: int) -> None:
        stop()
        loop.remove_signal_handler(number)
        signal.signal(number, before[number])

    with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
        for each in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(each)
            loop.add_signal_handler(each, leave, each)
            before[each] = handler
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
