"""Starts a server and lets it end well: what was accepted is drawn before the process goes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from limner.errors import UsageError, quote
from limner.registry import load_to_draw
from limner.server.app import create_app
from limner.server.catalogue import Catalogue
from limner.server.config import ServerConfig, read_keys
from limner.server.doors import Hosts, Keys
from limner.server.errors import unavailable
from limner.server.gallery import Gallery
from limner.server.gate import Gate
from limner.server.hooks import Hooks
from limner.server.protocol import HEADER_BYTES, GuardedProtocol
from limner.server.service import Service

BACKLOG = 512
_GRACE = 5.0  # seconds for answers to go out after the drain


@dataclass
class Server:
    """A server that is bound to a port and not yet serving; `address` is where it will be."""

    config: ServerConfig
    service: Service
    gate: Gate
    socket: socket.socket
    _stop: tuple[Callable[[], None], asyncio.AbstractEventLoop] | None = None

    @property
    def address(self) -> str:
        """The URL of the server."""
        host = self.config.host
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.config.port}"

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or Ctrl-C; raises as `limner.load` where the model can't be."""
        with asyncio.Runner() as runner:
            runner.run(self.serve(started))

    async def serve(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve on the loop that runs; signals are heeded in the main thread."""
        inner = _Uvicorn(self._settings())
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if inner.should_exit:
                return
            # What was accepted goes on; nothing new is, and the rest is told after the drain.
            self.gate.draining, self.service.ready = True, False
            inner.should_exit = True
            ending = unavailable("the server is shutting down", "shutting_down", 30)
            loop.call_later(self.config.drain, self.service.refuse_all, ending)

        self._stop = stop, loop
        with _signals(loop, stop):
            await inner.serve(started, self.service, [self.socket])

    def close(self) -> None:
        """Let go of the port and of all else, whether or not it has served."""
        self.socket.close()
        self.service.close()

    def request_stop(self) -> None:
        """Let the serving end, as SIGTERM does; any thread may ask."""
        if self._stop is not None:
            stop, loop = self._stop
            loop.call_soon_threadsafe(stop)

    def _settings(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.gate,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_graceful_shutdown=int(self.config.drain + _GRACE),
        )


class _Uvicorn(uvicorn.Server):
    """uvicorn, whose signals are ours, so that a stop ends with the exit code 0."""

    async def serve(  # type: ignore[override]
        self, started: Callable[[], None], service: Service, sockets: list[socket.socket]
    ) -> None:
        """Begin, serve and end; the model is loaded before the port is open."""
        try:
            await service.start()
            started()
            await self._serve(sockets)
        finally:
            await service.stop()


def make_server(config: ServerConfig, hooks: Hooks | None = None) -> Server:
    """Return a server for a config, its port taken; it loads no model yet.

    Raises UsageError for a host or port that can't be had, and as `read_keys`, `Catalogue`.
    """
    keys = read_keys(config)

    def load(place: str) -> Any:
        return load_to_draw(place, device=config.device, precision=config.precision)

    catalogue = Catalogue(
        config.models, aliases=config.aliases, cap=config.memory * 2**30, load=load
    )
    Gallery(config.gallery_file).check()  # before the port is taken
    bound = _bind(config.host, config.port)
    config = config.with_port(int(bound.getsockname()[1]))
    service = Service(config, catalogue, hooks or Hooks(), keys=len(keys))
    hosts = Hosts(config.host, config.allow_host, config.allow_origin)
    return Server(config, service, create_app(service, Keys(keys), hosts), bound)


def _bind(host: str, port: int) -> socket.socket:
    try:
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
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"cannot serve on {quote(host)} port {port}: {reason}; give another --port",
            param="port",
        ) from error
    return bound


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the serving; a second one is as ever."""
    heeded = (signal.SIGTERM, signal.SIGINT)
    before: dict[int, Any] = {}

    def leave(number: int) -> None:
        stop()
        loop.remove_signal_handler(number)
        signal.signal(number, before[number])

    try:
        for each in heeded:
            before[each] = signal.getsignal(each)
            loop.add_signal_handler(each, leave, each)
    except (ValueError, RuntimeError, NotImplementedError):  # not in the main thread, or Windows
        before.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
