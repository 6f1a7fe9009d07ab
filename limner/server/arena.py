"""The arena's page, for one person on this machine: two pictures, four keys, votes on the disk.

Both pictures of a duel come in one answer, as pixels of one size, encoded alike: neither names, nor
order, headers, sizes or time tell which model drew which.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from ipaddress import ip_address
from threading import Thread
from typing import Any

from limner.errors import LimnerError, UsageError, quote
from limner.evaluate.arena.votes import Duel, Votes
from limner.html import POLICY, png_uri
from limner.images import decode_image, encode_png

BODY_LIMIT = 1024  # bytes of a vote
PATIENCE = 10  # seconds for a request to arrive
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"{POLICY}; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = {
    "/": ("arena.html", "text/html; charset=utf-8"),
    "/arena.js": ("arena.js", "text/javascript; charset=utf-8"),
    "/arena.css": ("arena.css", "text/css; charset=utf-8"),
}


class ArenaServer(ThreadingHTTPServer):
    """Serves one arena; `serve_forever` returns once every duel is judged.

    Raises UsageError for a host or port that can't be had. On a loopback address it answers only
    requests made to this machine by name, so that no page of the web can vote through a browser.
    """

    daemon_threads = True

    def __init__(self, votes: Votes, host: str, port: int) -> None:
        self.votes = votes
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UsageError(
                f"cannot serve on {quote(host)} port {port}: {reason}; give another --port"
            ) from error
        self.port = int(self.server_address[1])
        self.address = f"http://{host}:{self.port}/"
        self.names: set[str] | None = None
        if _is_loopback(host):
            self.names = {f"{name}:{self.port}" for name in (host, "localhost", "127.0.0.1")}

    def finish(self) -> None:
        """Stop serving, once what is being answered is answered."""
        Thread(target=self.shutdown, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client that hung up go; anything else is told as usual."""
        import sys

        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def next_state(votes: Votes) -> dict[str, Any]:
    """Return what the page shows next: progress, and the duel that is not judged, if any."""
    done, total = votes.progress()
    duel = votes.next_duel()
    shown = None if duel is None else _shown(duel)
    return {"done": done, "total": total, "duel": shown}


def _shown(duel: Duel) -> dict[str, Any]:
    pictures = [decode_image(each, "a drawing") for each in (duel.left, duel.right)]
    # One size for both: the larger would tell the model.
    size = max(each.width for each in pictures), max(each.height for each in pictures)
    left, right = (png_uri(encode_png(each.resize(size))) for each in pictures)
    return {"place": duel.place, "prompt": duel.prompt, "left": left, "right": right}


class _Handler(BaseHTTPRequestHandler):
    server: ArenaServer
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Answer a page, a picture or the standings."""
        if not self._is_for_us():
            return
        if self.path == "/duel":
            self._answer(lambda: next_state(self.server.votes))
        elif self.path in _PAGE:
            name, kind = _PAGE[self.path]
            self._send(200, (files("limner.server") / "web" / name).read_bytes(), kind)
        else:
            self._refuse(404, "there is no such page")

    def do_POST(self) -> None:
        """Take a vote."""
        if not self._is_for_us():
            return
        ways: dict[str, Callable[[dict[str, Any]], None]] = {
            "/vote": self._vote,
            "/back": lambda asked: self.server.votes.take_back(),
        }
        if self.path not in ways:
            self._refuse(404, "there is no such page")
            return
        asked = self._body()
        if asked is None:
            return

        def act() -> dict[str, Any]:
            ways[self.path](asked)
            return next_state(self.server.votes)

        # The answer goes out first: a server that stops before it leaves the page waiting.
        state = self._answer(act)
        if state is not None and state["total"] == state["done"]:
            self.server.finish()

    def _vote(self, asked: dict[str, Any]) -> None:
        place, choice = asked.get("place"), asked.get("choice")
        if type(place) is not int or not 0 <= place < 2**53 or not isinstance(choice, str):
            raise UsageError("a vote has a place, a whole number, and a choice, a word")
        self.server.votes.vote(place, choice)

    def _is_for_us(self) -> bool:
        """Refuse what was asked of another name, or by another page."""
        names, host = self.server.names, self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        # A page of the web can send requests here, but not with our Host and Origin.
        if (names is None or host in names) and origin in (None, f"http://{host}"):
            return True
        self._refuse(403, "this page answers only requests of its own")
        return False

    def _body(self) -> dict[str, Any] | None:
        """Read a JSON object; None after an answer that refuses it."""
        given = self.headers.get("Content-Length", "")
        if not given.isascii() or not given.isdigit():
            self._refuse(411, "a vote has a Content-Length")
            return None
        # The length is judged before a byte is read, and its digits before it is a number.
        if len(given) > 9 or int(given) > BODY_LIMIT:
            self._refuse(413, f"a vote has at most {BODY_LIMIT} bytes")
            return None
        try:
            found = json.loads(self.rfile.read(int(given)))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._refuse(400, "a vote is a JSON object")
            return None
        return found

    def _refuse(self, code: int, message: str) -> None:
        answer = {"error": {"message": message, "code": code}}
        self._send(code, json.dumps(answer).encode(), "application/json")

    def _answer(self, act: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Send what `act` returns, and return it; None after an answer that says what failed."""
        try:
            answer = act()
        except UsageError as error:
            self._refuse(400, str(error))
            return None
        except LimnerError:  # its text has the file's place, which is no business of a page
            self._refuse(500, "the arena's file can't be used")
            return None
        self._send(200, json.dumps(answer).encode(), "application/json")
        return answer

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        for name, value in {**_HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "limner"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a terminal beside the page shall not count along."""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
