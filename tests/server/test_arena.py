"""The arena over HTTP: what it answers and refuses, and that it does not tell whose is whose."""

import base64
import io
import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.errors import UsageError
from limner.evaluate.arena.votes import Votes
from limner.server.arena import BODY_LIMIT, ArenaServer
from tests.server.arenas import COLOURS, PROMPTS, make_arena, serving
from tests.waiting import PATIENCE


@pytest.fixture
def votes(tmp_path: Path) -> Votes:
    return make_arena(tmp_path)


@pytest.fixture
def server(votes: Votes) -> Iterator[ArenaServer]:
    with serving(votes) as server:
        yield server


def ask(
    server: ArenaServer, way: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request(way, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def vote(server: ArenaServer, place: object, choice: object) -> tuple[int, Any]:
    body = json.dumps({"place": place, "choice": choice}).encode()
    answer, data = ask(server, "POST", "/vote", body)
    return answer.status, json.loads(data)


def test_all_duels_are_shown_and_the_last_vote_ends_the_serving(votes: Votes) -> None:
    seen = []
    with ArenaServer(votes, "127.0.0.1", 0) as server:
        import threading

        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        state = json.loads(ask(server, "GET", "/duel")[1])
        while state["duel"]:
            seen.append(state["duel"]["prompt"])
            status, state = vote(server, state["duel"]["place"], "left")
            assert status == 200
        thread.join(timeout=PATIENCE)
        assert not thread.is_alive()
    assert sorted(seen) == sorted(PROMPTS) and state == {"done": 3, "total": 3, "duel": None}


def test_nothing_tells_whose_a_picture_is(server: ArenaServer) -> None:
    said = b""
    for path in ("/", "/arena.js", "/arena.css", "/duel"):
        answer, data = ask(server, "GET", path)
        assert answer.status == 200
        head = str(answer.headers).encode()
        said += head + data
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Server" not in answer.headers
    assert not re.search(rb"reds|blues|model|arena\.db", said)
    assert not re.search(rb"https?://", said)  # no asset of another place
    duel = json.loads(ask(server, "GET", "/duel")[1])["duel"]
    assert set(duel) == {"place", "prompt", "left", "right"}
    pictures = []
    for side in ("left", "right"):
        kind, data = duel[side].split(",")
        assert kind == "data:image/png;base64"
        pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))
    assert [each.size for each in pictures] == [(64, 64)] * 2
    assert [each.info for each in pictures] == [{}, {}]
    assert {each.convert("RGB").getpixel((9, 9)) for each in pictures} == set(COLOURS)


def test_a_slip_is_taken_back(server: ArenaServer) -> None:
    before = json.loads(ask(server, "GET", "/duel")[1])
    assert vote(server, before["duel"]["place"], "neither")[1]["done"] == 1
    again, data = ask(server, "POST", "/back", b"{}")
    assert again.status == 200 and json.loads(data) == before


@pytest.mark.parametrize(
    ("way", "path", "body", "headers", "status"),
    [
        ("GET", "/arena.db", None, {}, 404),
        ("GET", "/../arena.db", None, {}, 404),
        ("GET", "//etc/passwd", None, {}, 404),
        ("POST", "/duel", b"{}", {}, 405),
        ("PUT", "/vote", b"{}", {}, 405),
        ("GET", "/duel", None, {"Host": "evil.example"}, 403),
        ("POST", "/vote", b"{}", {"Origin": "http://evil.example"}, 403),
        ("POST", "/vote", b"{}", {"Origin": "null"}, 403),
        ("POST", "/vote", b"", {}, 400),
        ("POST", "/vote", b"\xff", {}, 400),
        ("POST", "/vote", b"[" * 1000, {}, 400),
        ("POST", "/vote", b"[]", {}, 400),
        ("POST", "/vote", b"{}", {}, 400),
        ("POST", "/vote", b'{"place": true, "choice": "left"}', {}, 400),
        ("POST", "/vote", b'{"place": 0, "choice": "middle"}', {}, 400),
        ("POST", "/vote", b'{"place": 0, "choice": ["left"]}', {}, 400),
        ("POST", "/vote", b'{"place": -1, "choice": "left"}', {}, 400),
        ("POST", "/vote", b'{"place": 1e400, "choice": "left"}', {}, 400),
        ("POST", "/vote", b"x" * (BODY_LIMIT + 1), {}, 413),
        ("POST", "/vote", None, {"Content-Length": "-1"}, 400),
        ("POST", "/vote", None, {"Content-Length": "9" * 99}, 400),
    ],
)
def test_odd_requests_are_refused_and_the_next_is_served(
    server: ArenaServer, way: str, path: str, body: bytes | None, headers: dict[str, str],
    status: int,
) -> None:  # fmt: skip
    answer, data = ask(server, way, path, body, **headers)
    assert answer.status == status
    assert b"Traceback" not in data and b"arena.db" not in data
    state = json.loads(ask(server, "GET", "/duel")[1])
    assert state["done"] == 0


def test_a_client_that_says_nothing_keeps_nobody_waiting(server: ArenaServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert ask(server, "GET", "/duel")[0].status == 200


def test_a_file_that_is_gone_is_told_without_its_place(server: ArenaServer) -> None:
    server.votes.path.unlink()
    answer, data = ask(server, "GET", "/duel")
    assert answer.status == 500 and str(server.votes.path.parent).encode() not in data


def test_an_address_that_cannot_be_had_is_refused(votes: Votes, server: ArenaServer) -> None:
    for host, port in (("127.0.0.1", server.port), ("no such host", 0), ("127.0.0.1", 70_000)):
        with pytest.raises(UsageError, match="give another --port"):
            ArenaServer(votes, host, port)
