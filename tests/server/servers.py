"""A real server of tiny models on a free port, in a thread, and a client that trusts nothing."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from limner.server.catalogue import Pipeline
from limner.types import Step
from tests.tiny_model import save_tiny_model
from tests.tiny_unclip import save_tiny_unclip
from tests.waiting import PATIENCE, wait_until

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
pytest.importorskip("python_multipart", reason="the extra serve is not installed")

from limner.server.config import ServerConfig
from limner.server.hooks import Hooks
from limner.server.run import Server, make_server

# What no answer may hold: an address in memory, a path of this machine, where in the code it was.
SECRET = re.compile(rb"0x[0-9a-f]{6,}|/home/|/usr/|/root/|/tmp/|Traceback|site-packages|\.py\b")
PICTURE = re.compile(rb'"[\w+/=]{200,}"', re.ASCII)  # in base64, where letters fall as they like


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found = self.json["error"]
        assert set(found) == {"message", "type", "param", "code"} and len(found["message"]) <= 400
        return dict(found)


@dataclass
class Client:
    """Asks a server; every answer is searched for what must not leave."""

    port: int
    key: str = ""

    def ask(
        self,
        way: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        own = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            connection.request(way, path, body, own | (headers or {}))
            got = connection.getresponse()
            answer = Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()
        told = PICTURE.sub(b"", answer.body) + str(answer.headers).encode()
        assert not SECRET.search(told), told[:500]
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, data, {"Content-Type": "application/json", **headers})

    def draw(self, **fields: Any) -> Answer:
        return self.post("/v1/images/generations", {"prompt": "a red apple", **fields})

    def form(
        self,
        path: str,
        *parts: tuple[str, str | bytes],
        headers: dict[str, str] | None = None,
        pieces: Callable[[bytes], Iterable[bytes]] | None = None,
    ) -> Answer:
        """Send a form; bytes are files. Of `pieces` the length is not told."""
        body, kind = form_of(*parts)
        sent = pieces(body) if pieces else body
        return self.ask("POST", path, sent, {"Content-Type": kind, **(headers or {})})

    def gauge(self, name: str) -> float:
        (line,) = re.findall(rf"^{name} (.+)$", self.get("/metrics").body.decode(), re.M)
        return float(line)


def form_of(*parts: tuple[str, str | bytes]) -> tuple[bytes, str]:
    """Return the body of a form and its type."""
    lines = []
    for name, value in parts:
        file = "" if isinstance(value, str) else '; filename="a.png"\r\nContent-Type: image/png'
        head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        lines.append(head.encode() + (value.encode() if isinstance(value, str) else value))
    return b"\r\n".join(lines) + b"\r\n--xyz--\r\n", "multipart/form-data; boundary=xyz"


@dataclass
class Brake:
    """Holds drawing at its steps until it is let go; counts the steps."""

    go: threading.Event = field(default_factory=threading.Event)
    steps: int = 0
    batches: list[int] = field(default_factory=list)

    def hold(self, server: Server, *, one_by_one: bool = True) -> None:
        """Put it on all models of a server, which draws batches `one_by_one`, or as it would."""
        load = server.service.catalogue.load

        def braked(place: str) -> Pipeline:
            pipeline = load(place)
            self.put_on(pipeline)
            return pipeline

        server.service.catalogue.load = braked
        if one_by_one:
            server.service.worker.lanes = 1

    def put_on(self, pipeline: Pipeline) -> None:
        """Make a pipeline wait before each step."""
        whole = pipeline.stream_together

        def waiting(requests: Any) -> Iterator[Step]:
            self.batches.append(len(requests))
            for step in whole(requests):
                while not self.go.wait(0.01):
                    self.steps += 1
                    yield Step(0, step.total)
                yield step

        pipeline.stream_together = waiting  # type: ignore[method-assign]


def save_models(folder: Path) -> tuple[str, str]:
    """Write a model that draws and one that varies; return where they are."""
    save_tiny_model(folder / "tiny")
    save_tiny_unclip(folder / "unclip", prior="")
    return str(folder / "tiny"), str(folder / "unclip")


@contextmanager
def serving(
    config: ServerConfig,
    hooks: Hooks | None = None,
    change: Callable[[Server], None] = lambda server: None,
) -> Iterator[Server]:
    """Serve while the block runs, and see that the server ends well."""
    server = make_server(config, hooks)
    change(server)
    loop, started, faults = asyncio.new_event_loop(), threading.Event(), list[BaseException]()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(server.serve(started.set))
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            faults.append(error)
            started.set()
        finally:
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(PATIENCE)
        if not faults:
            yield server
    finally:
        if not loop.is_closed():
            server.request_stop()
        thread.join(PATIENCE)
        server.close()
    assert not thread.is_alive() and not faults, faults


def client_of(server: Server, key: str = "") -> Client:
    return Client(server.config.port, key)


def wait_for_jobs(client: Client, count: int) -> None:
    wait_until(lambda: client.gauge("limner_queue_jobs") == count)
