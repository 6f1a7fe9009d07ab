"""What every request passes before a route sees it, and every answer on its way out.

In order: how large the header is, the Host and Origin, the key, whether we still accept, and the
body, whose bytes and seconds are counted while it is read.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from limner.server import assets
from limner.server.doors import Hosts, Keys
from limner.server.errors import GONE, ApiError, Gone, busy, of_error, unavailable
from limner.server.languages import Translate, choose_language, translation_of
from limner.server.logs import log, log_fault
from limner.server.metrics import Metrics, outcome

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/healthz", "/readyz", *assets.OPEN)  # without a key
WHILE_DRAINING = (*OPEN, "/metrics")
JSON_BYTES = 2**20
UPLOAD_BYTES = 64 * 2**20
UPLOADS = (
    "/images/edits",
    "/images/variations",
    "/content_provenance_checks",
    "/img2img",
    "/morph",
)
HEADERS, HEADER_BYTES = 64, 16 * 1024
BODY_IDLE, BODY_SECONDS = 15.0, 60.0
HELD_BYTES = 256 * 2**20  # of the bodies of all requests that are in progress
PICTURES = "/pictures/"
_SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


@dataclass
class Gate:
    """The ASGI application around `app`; `has_picture` says whether a picture's name is known."""

    app: App
    hosts: Hosts
    keys: Keys
    metrics: Metrics
    has_picture: Callable[[str], bool]
    body_idle: float = BODY_IDLE
    body_seconds: float = BODY_SECONDS
    json_bytes: int = JSON_BYTES
    translate: Translate | None = None  # our messages into Chinese
    draining: bool = False
    held: int = 0  # bytes of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it; each is counted and logged once."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, number = time.perf_counter(), secrets.token_hex(8)
        choose_language(scope, self.translate)
        answer = _Answer(send, number, self._allowed_origin(scope), translation_of(scope))
        scope["limner.key"] = ""
        body = None
        try:
            headers = self._check(scope)
            body = _Body(receive, _length(headers), self._limit(scope["path"]), self)
            if preflight := self._preflight(scope, headers):
                await answer.refuse(preflight)
            else:
                await self.app(scope, body.receive, answer.send)
        except asyncio.CancelledError:  # the time for ending is over
            await answer.refuse(unavailable("the server is shutting down", "shutting_down", 30))
        except Exception as error:  # noqa: BLE001  # nothing may reach the client but our own words
            told = of_error(error)
            if told.status >= 500 and not isinstance(error, ApiError):
                log_fault(error)
            await answer.refuse(told)
        finally:
            self.held -= 0 if body is None else body.read
            seconds = time.perf_counter() - began
            route = _template(scope)
            self.metrics.answered(route, answer.status, seconds)
            log(
                "request", id=number, method=scope["method"][:8], route=route,
                status=answer.status, outcome=outcome(answer.status),
                ms=round(1000 * seconds, 1), key=scope["limner.key"],
            )  # fmt: skip

    def _check(self, scope: Scope) -> dict[bytes, list[bytes]]:
        """Return the headers of a request that may go on; ApiError for one that may not."""
        raw = scope["headers"]
        if len(raw) > HEADERS or sum(len(a) + len(b) + 4 for a, b in raw) > HEADER_BYTES:
            raise ApiError(
                431, f"the header is larger than {HEADER_BYTES} bytes or {HEADERS} lines",
                code="header_too_large",
            )  # fmt: skip
        headers: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            headers.setdefault(name, []).append(value)
        self.hosts.check(headers)
        # The path of the scope: one made of the Host could be bent by it.
        path = scope["path"]
        if path not in OPEN and not _is_preflight(scope, headers):
            named = path.startswith(PICTURES) and self.has_picture(path.removeprefix(PICTURES))
            # An unguessable name is a key of its own: those who fetch a picture often have none.
            scope["limner.key"] = "picture" if named else self.keys.holder(headers)
        if self.draining and path not in WHILE_DRAINING:
            raise unavailable("the server is shutting down", "shutting_down", 30)
        if any(
            each.strip().lower() != b"identity" for each in headers.get(b"content-encoding", [])
        ):
            raise ApiError(415, "send the body as it is, without Content-Encoding")
        return headers

    def _limit(self, path: str) -> int:
        """Return how many bytes a body may have."""
        return UPLOAD_BYTES if path.endswith(UPLOADS) else self.json_bytes

    def _allowed_origin(self, scope: Scope) -> bytes:
        """Return the Origin of a request if another page's that may read the answer, or b""."""
        found = [value for name, value in scope["headers"] if name == b"origin"]
        is_known = len(found) == 1 and found[0].decode("latin-1") in self.hosts.origins
        return found[0] if is_known else b""

    def _preflight(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> ApiError | None:
        """Return the answer to a browser that asks whether a page of another origin may ask."""
        if not _is_preflight(scope, headers):
            return None
        return ApiError(
            204, "",
            headers={
                "Access-Control-Allow-Methods": "GET, POST",
                "Access-Control-Allow-Headers": "authorization, api-key, content-type",
                "Access-Control-Max-Age": "600",
            },
        )  # fmt: skip


class _Body:
    """Reads a body: `receive` raises 413 and 408 where it is too large or too slow."""

    def __init__(self, receive: Receive, length: int | None, limit: int, gate: Gate) -> None:
        if length is not None and length > limit:
            raise _too_large(limit)  # before a byte of it is read
        self._receive, self._limit, self._gate = receive, limit, gate
        self.read, self._whole = 0, length == 0
        self._until = 0.0

    async def receive(self) -> Message:
        """Return what comes next; without limits once the body is whole, when a client may go."""
        if self._whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + self._gate.body_seconds
        wait = min(self._gate.body_idle, self._until - loop.time())
        try:
            message = await asyncio.wait_for(self._receive(), wait)
        except TimeoutError:
            raise ApiError(
                408, "the body did not arrive in time", code="request_timeout",
                headers={"Connection": "close", "x-should-retry": "false"},
            ) from None  # fmt: skip
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.read, self._gate.held = self.read + size, self._gate.held + size
            self._whole = not message.get("more_body", False)
            if self.read > self._limit:
                raise _too_large(self._limit)
            if self._gate.held > HELD_BYTES and self.read > JSON_BYTES:
                raise busy("too much is being sent at once; try again later", 5)
        else:
            raise Gone
        return message


class _Answer:
    """Sends an answer with what each has; remembers its status."""

    def __init__(self, send: Send, number: str, origin: bytes, translate: Translate | None) -> None:
        self._send, self._begun, self._translate = send, False, translate
        self.status = GONE  # until something is sent
        self._own = [*_SAFE, (b"x-request-id", number.encode())]
        if origin:
            self._own += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status, self._begun = message["status"], True
            if self.status == GONE:  # nobody is there to read it
                message["status"] = 400
            given = [*message.get("headers", [])]
            known = {name for name, _ in given}
            message["headers"] = given + [each for each in self._own if each[0] not in known]
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Send an error, unless an answer has begun."""
        if self._begun:
            return
        said = error.body(self._translate)
        body = b"" if error.status == 204 else json.dumps(said).encode()
        headers = [(b"content-length", str(len(body)).encode())] if error.status != 204 else []
        headers += [(b"content-type", b"application/json")] if body else []
        given = {**error.headers}
        if self._translate and body:
            given["Content-Language"] = "zh"
        if error.status in (408, 413):  # the rest of the body is not wanted
            given.setdefault("Connection", "close")
        headers += [(k.lower().encode(), v.encode("latin-1")) for k, v in given.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _length(headers: dict[bytes, list[bytes]]) -> int | None:
    given = headers.get(b"content-length", [])
    if not given:
        return None if b"transfer-encoding" in headers else 0
    if len(given) > 1 or not given[0].isdigit() or b"transfer-encoding" in headers:
        raise ApiError(400, "the length of the body is not clear", headers={"Connection": "close"})
    return int(given[0]) if len(given[0]) < 20 else 2**63


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413, f"the body is larger than {limit} bytes; send less", code="file_too_large",
        headers={"Connection": "close"},
    )  # fmt: skip


def _is_preflight(scope: Scope, headers: Iterable[bytes]) -> bool:
    known = b"origin" in headers and b"access-control-request-method" in headers
    return bool(scope["method"] == "OPTIONS" and known)


def _template(scope: Scope) -> str:
    """Return the route's template, never the path that a stranger wrote."""
    path = getattr(scope.get("route"), "path", None)
    return str(path) if path else "other"
