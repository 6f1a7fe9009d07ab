"""A whole server, from its config: what was accepted is drawn before the process goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from limner.server.app import create_app
from limner.server.catalogue import Catalogue, catalogue_of
from limner.server.config import ServerConfig, read_keys
from limner.server.doors import Hosts, Keys
from limner.server.errors import unavailable
from limner.server.gallery import Gallery
from limner.server.gate import Gate
from limner.server.hooks import Hooks
from limner.server.listener import Listener
from limner.server.replicas import Replicas
from limner.server.service import Service


@dataclass
class Server:
    """A server that has its port and does not serve yet."""

    config: ServerConfig
    service: Service
    gate: Gate
    listener: Listener

    @property
    def address(self) -> str:
        """The URL of the server."""
        return self.listener.address

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or Ctrl-C; raises as `limner.load` where the model can't be."""
        with asyncio.Runner() as runner:
            runner.run(self.serve(started))

    async def serve(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve on the loop that runs; until the model is loaded they are told so."""
        ending = unavailable("the server is shutting down", "shutting_down", 30)
        await self.listener.serve(
            self.gate,
            begin=self.service.start,
            end=self.service.stop,
            started=started,
            stopping=self.service.close_doors,
            late=lambda: self.service.refuse_all(ending),
        )

    def request_stop(self) -> None:
        """Let the serving end, as SIGTERM does; any thread may ask."""
        self.listener.request_stop()

    def close(self) -> None:
        """Let go of the port and of all else, whether or not it has served."""
        self.listener.close()
        self.service.close()


def make_server(config: ServerConfig, hooks: Hooks | None = None) -> Server:
    """Return a server for a config, its port taken; it loads no model yet.

    Raises UsageError for a host or port that can't be had, and as `read_keys`, `Catalogue`,
    `Replicas`.
    """
    keys, catalogue = check_settings(config)
    Gallery(config.gallery_file).check()  # before the port is taken
    listener = Listener(config.host, config.port, config.drain)
    config = config.with_port(listener.port)
    try:
        replicas = Replicas(config) if config.ray else None
    except BaseException:
        listener.close()
        raise
    service = Service(config, catalogue, hooks or Hooks(), keys=len(keys), replicas=replicas)
    hosts = Hosts(config.host, config.allow_host, config.allow_origin)
    return Server(config, service, create_app(service, Keys(keys), hosts), listener)


def check_settings(config: ServerConfig) -> tuple[dict[str, str], Catalogue]:
    """Return the keys and the models that a config names, nothing loaded and no port taken.

    Raises as `read_keys`, `Catalogue`.
    """
    # With replicas a model is here for its words alone, so that no device is taken for it.
    return read_keys(config), catalogue_of(config, "cpu" if config.ray else config.device)
