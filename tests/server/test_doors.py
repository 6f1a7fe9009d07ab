"""Who may ask: every route needs a key, a known Host and no strange Origin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.servers import Client, client_of, save_models, serving

from limner.errors import ConfigError, UsageError  # isort: skip
from limner.server.config import ServerConfig, read_keys  # isort: skip
from limner.server.doors import Hosts, Keys  # isort: skip
from limner.server.errors import ApiError  # isort: skip
from limner.server.gate import OPEN  # isort: skip
from limner.server.run import Server  # isort: skip

KEY = "sk-0123456789abcdef"
OTHER = "sk-another-0123456789"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    keys = folder / "keys.txt"
    keys.write_text(f"# who may ask\nalice {KEY}\n\n{OTHER}\n", encoding="utf-8")
    models = save_models(folder)[:1]
    config = ServerConfig(
        port=0, models=models, keys=str(keys), allow_host=("draw.example:443",),
        allow_origin=("https://app.example",),
    )  # fmt: skip
    with serving(config) as server:
        yield server


@pytest.fixture
def stranger(server: Server) -> Client:
    return client_of(server)


@pytest.fixture
def client(server: Server) -> Client:
    return client_of(server, KEY)


def test_every_route_needs_a_key_but_those_of_health(server: Server, stranger: Client) -> None:
    walked = 0
    for route in server.gate.app.routes:  # type: ignore[attr-defined]
        path = route.path.replace("{name:path}", "tiny").replace("{name}", "x.png")
        path = path.replace("{number}", "1")
        for way in sorted(route.methods):
            answer = stranger.ask(way, path, b"{}" if way == "POST" else None)
            assert answer.status == (200 if path in OPEN else 401), (way, path)
            walked += path not in OPEN
    assert walked > 25
    for path in ("/web/page.html", "/nowhere", "/v1/nowhere"):
        assert stranger.get(path).status == 401


def test_a_key_is_taken_as_each_kind_of_client_sends_it(client: Client, stranger: Client) -> None:
    import base64

    basic = base64.b64encode(f"user:{OTHER}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer {OTHER}"},
        {"api-key": KEY},
        {"Authorization": f"Basic {basic}"},
    ):
        assert stranger.get("/v1/models?api-version=2025-01-01", **headers).status == 200
    for headers in (
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": KEY},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": "Basic !!"},
        {"api-key": ""},
        {"Authorization": "Bearer é"},
    ):
        answer = stranger.get("/v1/models", **headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key"), headers
        assert answer.headers["www-authenticate"] == "Bearer"
    assert stranger.get(f"/v1/models?api_key={KEY}").status == 401
    assert stranger.get("/v1/models", Authorization=f"Bearer {'x' * 20000}").status in (400, 431)


def test_a_picture_is_fetched_by_its_name_alone(client: Client, stranger: Client) -> None:
    (item,) = client.draw(response_format="url").json["data"]
    path = item["url"].removeprefix(f"http://127.0.0.1:{client.port}")
    assert stranger.get(path).status == client.get(path).status == 200
    assert stranger.get(path[:-5] + "x.png").status == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "127.0.0.1.evil.com", "127.evil.com", "localhost.", "[::ffff:127.0.0.1]",
        "127.0.0.1@evil.com", "127.0.0.1/a", "127.0.0.1?x#", "127.0.0.1:80:80", "127.0.0.1:x",
        "localhost\\@x", "2130706433", "0x7f000001", "0.0.0.0", "draw.example", "draw.example:80",
    ],
)  # fmt: skip
def test_another_host_is_refused(client: Client, host: str) -> None:
    answer = client.get("/v1/models", Host=host)
    assert (answer.status, answer.error["code"]) == (403, "host_not_allowed")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:9", "draw.example:443"]
)
def test_hosts_of_this_machine_and_allowed_ones_may_be_named(client: Client, host: str) -> None:
    assert client.get("/v1/models", Host=host).status == 200


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "http://localhost.evil.com", "https://app.example.x"]
)
def test_another_origin_is_refused_without_a_word_that_a_page_could_read(
    client: Client, origin: str
) -> None:
    for answer in (
        client.get("/v1/models", Origin=origin),
        client.ask("OPTIONS", "/v1/models", headers={"Origin": origin}),
    ):
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_allowed_origin_may_ask_and_read(client: Client, stranger: Client) -> None:
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    before = stranger.ask("OPTIONS", "/v1/images/generations", headers=headers)
    assert before.status == 204 and before.body == b""
    assert "authorization" in before.headers["access-control-allow-headers"]
    answer = client.get("/v1/models", Origin="https://app.example")
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    own = client.get("/v1/models", Origin="http://127.0.0.1", Host="127.0.0.1")
    assert own.status == 200 and "access-control-allow-origin" not in own.headers


def test_all_addresses_answer_to_addresses_in_digits_alone() -> None:
    hosts = Hosts("0.0.0.0", ("draw.example",))
    for host in ("192.168.1.5:8000", "[fe80::1]:8000", "draw.example", "localhost:1"):
        hosts.check({b"host": [host.encode()]})
    for host in ("evil.example", "192.168.1.5.evil.com", "[evil]", "192.168.1", "fe80::1"):
        with pytest.raises(ApiError):
            hosts.check({b"host": [host.encode()]})
    for headers in ({}, {b"host": [b"localhost", b"localhost"]}):
        with pytest.raises(ApiError):
            hosts.check(headers)


def test_without_keys_all_are_one() -> None:
    assert Keys({}).holder({}) == "local" and not Keys({})


def test_other_machines_need_keys_that_are_long_enough(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    with pytest.raises(UsageError, match="there is no key; give --keys"):
        read_keys(ServerConfig(host="0.0.0.0"))
    for text, told in (
        ("", "has no key; write one a line"),
        ("alice short", "line 1 has no key"),
        ("a b 0123456789abcdef", "line 1 has no key"),
        (f"x {KEY}\nschlüssel{KEY}", "line 2 has no key"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=told):
            read_keys(ServerConfig(host="0.0.0.0", keys=str(path)))
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not in UTF-8"):
        read_keys(ServerConfig(keys=str(path)))
    with pytest.raises(ConfigError, match="cannot read"):
        read_keys(ServerConfig(keys=str(tmp_path / "absent")))


def test_a_file_sets_what_no_flag_says(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text('port = 9000\nqueue = 5\nmodels = ["a"]\naliases = false\n', encoding="utf-8")
    config = ServerConfig.read(path, {"queue": 7})
    assert (config.port, config.queue, config.models, config.aliases) == (9000, 7, ("a",), False)
    for text, told in (
        ("prot = 1", "unknown key 'prot'; did you mean 'port'"),
        ("port = true", "port is True; expected a whole number from 0 to 65535"),
        ("queue = 0", "queue is 0"),
        ("deadline = 'x'", "deadline is 'x'; expected a number"),
        ("models = 'a'\nallow_host = [1]", "allow_host is"),
        ("public_url = 'x'", "public_url is 'x'"),
        ("device = 'tpu'", "device is 'tpu'"),
        ("port =", "is not valid TOML"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=told):
            ServerConfig.read(path, {})
