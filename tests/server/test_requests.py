"""Requests that are no requests: bad JSON, bad HTTP, too large, too slow; the server stays."""

import contextlib
import io
import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.servers import SECRET, Client, client_of, form_of, save_models, serving
from tests.waiting import PATIENCE, wait_until

from limner.server import gate, protocol, sdapi  # isort: skip
from limner.server.config import ServerConfig  # isort: skip
from limner.server.logs import start_logs  # isort: skip
from limner.server.run import Server  # isort: skip
from limner.server.schemas import Edit, Moderation  # isort: skip

PATH = "/v1/images/generations"
MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = save_models(tmp_path_factory.mktemp("models"))
    with serving(ServerConfig(port=0, models=models)) as server:
        yield server


@pytest.fixture(scope="module")
def plain(server: Server) -> Client:
    return client_of(server)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    client = client_of(server)
    yield client
    assert client.draw().status == 200  # whatever was sent, the next honest request is served


def told(client: Client, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes as they are, and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65536):
            found += part
    assert not SECRET.search(found), found
    return found


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not JSON"),
        (b"{", "at character 1"),
        (b'{"prompt": "x",}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"[]", "no object"),
        (b'"x"', "no object"),
        (b'{"prompt": "x", "prompt": "y"}', "twice"),
        (b'{"prompt": "x", "seed": NaN}', "NaN"),
        (b'{"prompt": "x", "seed": -Infinity}', "Infinity"),
        (b'{"prompt": "x", "n": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 10_000, "too deeply"),
        (b'{"prompt": ' + b'{"a":' * 10_000, "too deeply"),
    ],
)
def test_bad_json_is_told(client: Client, data: bytes, word: str) -> None:
    answer = client.post(PATH, data)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    assert word in answer.error["message"], answer.error


def test_half_of_a_surrogate_pair_is_told(client: Client) -> None:
    answer = client.post(PATH, b'{"prompt": "\\ud800"}')
    assert (answer.status, answer.error["code"]) == (400, "invalid_unicode")


def test_a_missing_prompt_is_told(client: Client) -> None:
    answer = client.post(PATH, {})
    assert (answer.status, answer.error["code"]) == (400, "missing_required_parameter")
    assert answer.error["param"] == "prompt"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=utf-7"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_another_type_is_not_taken(client: Client, headers: dict[str, str]) -> None:
    answer = client.post(PATH, {"prompt": "x"}, **headers)
    assert answer.status == 415


@pytest.mark.parametrize(
    ("way", "path", "status"),
    [
        ("GET", "/nowhere", 404), ("GET", "//v1/models", 404), ("GET", "/v1/../v1/models", 404),
        ("GET", "/v1/%2e%2e/etc/passwd", 404), ("GET", "/pictures/../x", 404),
        ("GET", "/pictures/%2e%2e%2fx.png", 404), ("GET", "/v1/models/..%2f..%2fetc", 404),
        ("PUT", PATH, 405), ("GET", PATH, 405), ("DELETE", "/v1/models", 405),
    ],
)  # fmt: skip
def test_other_paths_and_ways(client: Client, way: str, path: str, status: int) -> None:
    answer = client.ask(way, path)
    assert answer.status == status and answer.error
    assert status != 405 or answer.headers["allow"]


def test_all_ways_of_a_path_are_told(client: Client) -> None:
    answer = client.ask("PUT", "/sdapi/v1/options")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


def test_a_body_too_large_is_refused_before_it_is_read(client: Client) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    found = told(client, f"{head}Content-Length: {2 * MIB}\r\n\r\n".encode())
    assert found.startswith(b"HTTP/1.1 413") and b"connection: close" in found
    found = told(
        client,
        head.replace(PATH, "/v1/images/edits").encode() + b"Content-Length: 68157440\r\n\r\n",
    )
    assert found.startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_counted(client: Client) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    data = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17
    assert told(client, data).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: -1", "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nTransfer-Encoding: chunked", "Content-Length: 2, 3",
        "Transfer-Encoding: chunked\r\n\r\nZZZ\r\n", "Content-Length: 1e3",
    ],
)  # fmt: skip
def test_a_length_that_is_not_clear_closes_the_connection(client: Client, lines: str) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    found = told(client, f"{head}{lines}\r\n\r\n{{}}".encode())
    assert found.startswith(b"HTTP/1.1 400") and found.count(b"HTTP/1.1 ") == 1, found


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused_and_closed(client: Client, data: bytes) -> None:
    found = told(client, data, end=True)
    assert not found or found.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 403"))


def test_old_http_and_upgrades_are_answered(client: Client) -> None:
    found = told(client, b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200")
    lines = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    found = told(client, f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
    assert found.startswith(b"HTTP/1.1 200")


def test_headers_have_a_limit(client: Client) -> None:
    for headers in ({"X-A": "a" * 17 * 1024}, {f"X-{number}": "a" for number in range(65)}):
        answer = client.get("/healthz", **headers)
        assert answer.status in (400, 431)
    assert client.get("/healthz", **{f"X-{number}": "a" for number in range(50)}).status == 200


def test_what_is_sent_at_once_has_a_limit(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "HELD_BYTES", 3 * MIB)
    body, kind = form_of(("image", b"x" * (2 * MIB)))
    path = "/v1/images/variations"
    assert client.ask("POST", path, body, {"Content-Type": kind}).status == 400
    server.gate.held += 2 * MIB  # as of another request
    answer = client.ask("POST", path, body, {"Content-Type": kind})
    assert answer.status == 429 and answer.headers["retry-after"] == "5"
    server.gate.held -= 2 * MIB
    wait_until(lambda: server.gate.held == 0)


def test_a_form_has_limits(client: Client) -> None:
    path = "/v1/images/variations"
    for parts in (
        [("image", b"x")] * 21, [("a", "b")] * 30, [("a", "x" * 70_000)],
        [("n", "1"), ("n", "2"), ("image", b"x")],
    ):  # fmt: skip
        answer = client.form(path, *parts)
        assert answer.status == 400 and answer.error
    body, kind = form_of(("image", b"x"))
    for data, sort in (
        (body[:30], kind), (b"", kind), (b"x" * 1000, kind), (body, "multipart/form-data"),
        (b"--xyz\r\n" + b"X: " + b"a" * 20_000 + b"\r\n\r\n", kind),
    ):  # fmt: skip
        answer = client.ask("POST", path, data, {"Content-Type": sort})
        assert answer.status == 400 and answer.error, (data[:40], answer.body)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    *Edit.model_fields, *sdapi.ImageToImage.model_fields, *Moderation.model_fields, "image", "file",
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_json_object_is_answered(plain: Client, data: st.DataObject) -> None:
    found = plain.get("/openapi.json").json["paths"]
    posts = sorted(path for path, ways in found.items() if "post" in ways)
    body = data.draw(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
    if data.draw(st.booleans()):
        body |= {"prompt": "a red apple", "input": "x", "n": 1}
    answer = plain.post(data.draw(st.sampled_from(posts)), body)
    assert answer.status in (200, 400, 404, 413), answer.body
    assert answer.status == 200 or answer.error


def test_slow_senders_are_let_go_and_starve_nobody(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.GuardedProtocol, "header_seconds", 1.0)
    monkeypatch.setattr(server.gate, "body_idle", 1.0)
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    slow = [
        socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) for _ in range(40)
    ]
    for number, each in enumerate(slow):
        each.sendall(head.encode() if number % 2 else f"{head}Content-Length: 9\r\n\r\n{{".encode())
    assert client.draw().status == 200
    for number, each in enumerate(slow):
        try:
            found = each.recv(65536)
        except ConnectionResetError:
            found = b""
        assert not found if number % 2 else found.startswith(b"HTTP/1.1 408")
        each.close()


def test_drip_fed_headers_have_no_more_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.GuardedProtocol, "header_seconds", 1.0)
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
        ended = threading.Event()

        def drip() -> None:
            try:
                connection.sendall(b"GET / HTTP/1.1\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b"X-A: b\r\n")
            except OSError:
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            found = connection.recv(100)
        except ConnectionResetError:
            found = b""
        ended.set()
        thread.join()
    assert found == b""


def test_many_idle_connections_make_room(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.GuardedProtocol, "connections_limit", 20)
    idle = [
        socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) for _ in range(60)
    ]
    assert client.draw().status == 200
    gone = 0
    for each in idle:
        each.setblocking(False)
        try:
            gone += each.recv(1) == b""
        except BlockingIOError:
            pass
        except ConnectionResetError:
            gone += 1
        each.close()
    assert gone >= 40


def test_a_client_that_does_not_read_is_let_go(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.GuardedProtocol, "read_seconds", 0.2)
    lost = threading.Event()
    end = protocol.GuardedProtocol.connection_lost

    def see(its: protocol.GuardedProtocol, error: Exception | None) -> None:
        end(its, error)
        if its.client == connection.getsockname():
            lost.set()

    size = 16 * MIB  # more than the system takes from a server before anybody reads it
    name = server.service.pictures.keep(bytes(size), "png")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", client.port))
        monkeypatch.setattr(protocol.GuardedProtocol, "connection_lost", see)
        connection.sendall(f"GET /pictures/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.settimeout(PATIENCE)
        assert lost.wait(PATIENCE)
        found = 0
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                found += len(part)
    assert found < size


def test_who_leaves_in_the_middle_of_a_body_leaves_no_trace(client: Client) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
            connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    assert 'outcome="failed"' not in client.get("/metrics").body.decode()


def test_counts_add_up(client: Client) -> None:
    def counts() -> dict[str, int]:
        found: dict[str, int] = {}
        for line in client.get("/metrics").body.decode().splitlines():
            if line.startswith("limner_requests_total"):
                outcome = line.partition('outcome="')[2].partition('"')[0]
                found[outcome] = found.get(outcome, 0) + int(line.rpartition(" ")[2])
        return found

    before = counts()
    for fields in ({}, {"n": 0}, {"model": "nosuch"}):
        client.draw(**fields)
    client.get("/nowhere")
    after = counts()
    assert after["ok"] - before.get("ok", 0) == 1 + 1  # and the reading of the counts before
    assert after["refused"] - before.get("refused", 0) == 3
    assert after.get("failed") == before.get("failed")


def test_the_log_tells_no_prompt_and_no_path(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, logger = io.StringIO(), logging.getLogger("limner.server")

    def lines() -> list[dict[str, Any]]:
        whole = stream.getvalue().rpartition("\n")[0]
        return [json.loads(each) for each in whole.splitlines()]

    def statuses() -> list[Any]:
        return [each["status"] for each in lines()]

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setattr(logger, "handlers", [])
        patch.setattr(logger, "propagate", False)
        start_logs()
        client.draw(prompt="a canary in a coal mine")
        client.get("/canary/in/a/path?canary=1")
        client.draw(prompt="a canary", n=0)
        # The line of a request before these may come first: it is written after its answer.
        wait_until(lambda: statuses()[-3:] == [200, 404, 400])
    assert {each["event"] for each in lines()} == {"request"}
    assert "canary" not in stream.getvalue()
    assert [each["route"] for each in lines()[-3:]] == [PATH, "other", PATH]
