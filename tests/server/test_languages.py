"""What goes wrong is told in Chinese to a client that asks for it, whoever refuses."""

import ast
import json
import re
from collections.abc import Iterator

import pytest

from limner.cli.shared.messages import to_chinese
from tests.cli.shared.test_messages import HAN, nodes, of, template
from tests.server.servers import Client, client_of, save_models, serving

from limner.server.config import ServerConfig  # isort: skip
from limner.server.hooks import Hooks  # isort: skip
from limner.server.languages import wants_chinese  # isort: skip

ZH = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
KEY = "sk-0123456789abcdef"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "keys.txt").write_text(KEY, encoding="utf-8")
    config = ServerConfig(port=0, models=save_models(folder)[:1], keys=str(folder / "keys.txt"))
    with serving(config, Hooks(translate=to_chinese)) as server:
        yield client_of(server, KEY)


@pytest.mark.parametrize(
    ("accept", "chinese"),
    [
        (None, False), ("", False), ("*", False), ("en", False), ("zh", True), ("zh-TW", True),
        ("ZH-hans-CN", True), ("zh-CN,zh;q=0.9,en;q=0.8", True), ("en-GB,en;q=0.9,zh;q=0.8", False),
        ("de, zh;q=0.5", True), ("zh;q=0.1, en ; q=0.2", False), ("zh;q=0.200,en;q=0.20", True),
        ("zh;q=x,en;q=0.1", False), ("zhx", False), ("\xff\xfe,,;;q=", False), ("x" * 9000, False),
    ],
)  # fmt: skip
def test_a_language_is_asked_for_as_browsers_do(accept: str | None, chinese: bool) -> None:
    given = [] if accept is None else [(b"accept-language", accept.encode("latin-1"))]
    assert wants_chinese({"headers": given}) == chinese


def test_every_refusal_is_told_in_chinese(client: Client) -> None:
    draw = "/v1/images/generations"
    asked = [
        client.post(draw, {"prompt": "x", "n": 11}, **ZH),  # the fields
        client.post(draw, {"prompt": "x" * 4001}, **ZH),  # the library
        client.post(draw, {"prompt": "x", "size": "0x0"}, **ZH),
        client.post(draw, {"prompt": "x", "model": "nosuch"}, **ZH),
        client.post(draw, b"{", **ZH),
        client.get("/nowhere", **ZH),  # routing
        client.get(draw, **ZH),
        client.get("/v1/models", **ZH, Authorization="Bearer wrong"),  # the gate
        client.get("/v1/models", **ZH, Origin="https://elsewhere.example"),
        client.post(draw, b"x" * (2**20 + 1), **ZH),
    ]
    for answer in asked:
        assert HAN.search(answer.error["message"]), answer.error
        assert answer.headers["content-language"] == "zh"
    plain = client.post(draw, {"prompt": "x", "n": 11})
    assert plain.error | {"message": ""} == asked[0].error | {"message": ""}
    assert plain.error["message"].isascii() and "content-language" not in plain.headers


def test_every_message_of_the_server_has_its_chinese() -> None:
    """Those of errors that the library raises are seen to in test_messages."""
    makers = {"ApiError", "invalid", "busy", "unavailable", "fault", "_bad", "_closed"}
    known, seen = dict(of("", "arguments")), 0
    for place, node in nodes():
        if not place.startswith("server/") or not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func) not in makers:
            continue
        for text in filter(None, map(template, node.args[:2])):
            if " " in text and re.search("[a-z]{2}", text):  # a sentence, and no code
                seen += 1
                assert text in known, json.dumps(text)
    assert seen > 50
