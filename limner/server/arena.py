"""The arena's page, for one person on this machine: two pictures, four keys, votes on the disk.

Both pictures of a duel come in one answer, as pixels of one size, encoded alike: neither names, nor
order, headers, sizes or time tell which model drew which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response

from limner.errors import LimnerError, UsageError
from limner.evaluate.arena.votes import Duel, Votes
from limner.html import POLICY, png_uri
from limner.images import decode_image, encode_png
from limner.server.bodies import parse_object
from limner.server.doors import Hosts, Keys
from limner.server.errors import ApiError, answer_of, fault
from limner.server.gate import Gate
from limner.server.listener import Listener
from limner.server.metrics import Metrics

BODY_LIMIT = 1024  # bytes of a vote
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"{POLICY}; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
}
_PAGE = {
    "/": ("arena.html", "text/html; charset=utf-8"),
    "/arena.js": ("arena.js", "text/javascript; charset=utf-8"),
    "/arena.css": ("arena.css", "text/css; charset=utf-8"),
}
Act = Callable[[Mapping[str, Any]], None]


class ArenaServer:
    """Serves one arena; `serve_forever` returns once every duel is judged, or at Ctrl-C.

    Raises UsageError for a host or port that can't be had. It answers only requests that name this
    machine as its host, so that no page of the web can vote through a browser.
    """

    def __init__(self, votes: Votes, host: str, port: int) -> None:
        self.votes = votes
        self.listener = Listener(host, port)
        self.port, self.address = self.listener.port, f"{self.listener.address}/"
        self.gate = Gate(
            self._app(), Hosts(host), Keys({}), Metrics(), lambda name: False, json_bytes=BODY_LIMIT
        )

    def serve_forever(self) -> None:
        """Serve on a loop of its own."""
        with asyncio.Runner() as runner:
            runner.run(self.listener.serve(self.gate))

    def shutdown(self) -> None:
        """Stop serving, once what is being answered is answered; any thread may ask."""
        self.listener.request_stop()

    def __enter__(self) -> ArenaServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.listener.close()

    def _app(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
        for path in _PAGE:
            app.add_api_route(path, _page, methods=["GET"], response_model=None)
        app.add_api_route("/duel", self._duel, methods=["GET"], response_model=None)
        ways: dict[str, Act] = {"/vote": self._vote, "/back": lambda asked: self.votes.take_back()}
        for path, act in ways.items():
            app.add_api_route(path, self._acting(act), methods=["POST"], response_model=None)
        for kind in (404, 405, LimnerError, ApiError):
            app.add_exception_handler(kind, _told)
        return app

    async def _duel(self, http: HttpRequest) -> Response:
        return JSONResponse(next_state(self.votes), headers=_HEADERS)

    def _acting(self, act: Act) -> Callable[[HttpRequest], Awaitable[Response]]:
        """Return the route that does something with a JSON object, and answers what comes next."""

        async def route(http: HttpRequest) -> Response:
            act(parse_object(await http.body()))
            state = next_state(self.votes)
            if state["total"] == state["done"]:
                self.shutdown()  # once this answer is out
            return JSONResponse(state, headers=_HEADERS)

        return route

    def _vote(self, asked: Mapping[str, Any]) -> None:
        place, choice = asked.get("place"), asked.get("choice")
        if type(place) is not int or not 0 <= place < 2**53 or not isinstance(choice, str):
            raise UsageError("a vote has a place, a whole number, and a choice, a word")
        self.votes.vote(place, choice)


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


async def _page(http: HttpRequest) -> Response:
    name, kind = _PAGE[http.scope["path"]]
    data = (files("limner.server") / "web" / name).read_bytes()
    return Response(data, headers={**_HEADERS, "Content-Type": kind})


async def _told(http: HttpRequest, error: Exception) -> Response:
    """Answer an error; of the arena's file nothing is told, which is no business of a page."""
    status = getattr(error, "status_code", None)
    if status is not None:
        error = ApiError(status, "there is no such page")
    elif isinstance(error, LimnerError) and not isinstance(error, UsageError):
        error = fault("the arena's file can't be used")
    return answer_of(error)
