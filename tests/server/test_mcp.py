"""limner's tools as a real client of the SDK sees them, over standard input and over HTTP."""

import asyncio
import base64
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from limner.errors import MissingExtraError, UsageError
from limner.server.mcp import build, check_address
from limner.server.tools import NAMES, Tools
from tests.server.test_tools import save_worded_model
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_worded_model(tmp_path_factory.mktemp("m"))


def command(folder: Path, out: Path, *words: str) -> list[str]:
    given = ["-m", "limner", "mcp", "--model", str(folder), "--out", str(out), *words]
    return [sys.executable, *given]


def asked(server: Any, ask: Callable[[Any], Awaitable[None]]) -> None:
    """Connect the SDK's client to a server and ask it."""
    from mcp import Client

    async def connected() -> None:
        async with Client(server) as client:
            await ask(client)

    asyncio.run(connected())


def text_of(result: Any) -> str:
    return str(result.content[0].text)


async def everything(client: Any, out: Path) -> None:
    listed = {each.name: each for each in (await client.list_tools()).tools}
    assert tuple(listed) == NAMES
    assert all(each.output_schema is None for each in listed.values())
    wanted = listed["generate_image"].input_schema
    assert wanted["required"] == ["prompt"]
    assert set(wanted["properties"]) == {"prompt", "n", "seed", "guidance"}
    # 1. A picture: a file, and the same bytes inline; nothing structured beside them.
    drawn = await client.call_tool("generate_image", {"prompt": "a red apple", "seed": 7})
    assert not drawn.is_error and drawn.structured_content is None
    told, picture = drawn.content
    assert f"{out / 'limner-7'}" in told.text and "seed 7, 16 x 16 pixels" in told.text
    path = Path(told.text.partition(": ")[0])
    assert picture.mime_type == "image/png"
    assert base64.b64decode(picture.data) == path.read_bytes()
    # 2. What the agent can mend is told to it, by its code where it has one.
    for name, given, said in (
        ("generate_image", {"prompt": "h3ntai"}, "content_policy_violation: the prompt is refused"),
        ("generate_image", {"prompt": "a cat", "n": 11}, "n is 11; expected"),
        ("generate_image", {"prompt": ""}, "empty: the prompt is empty"),
        ("edit_image", {"image": "absent.png", "prompt": "a cat"}, "cannot read the picture"),
        ("list_words", {"search": "qq"}, "contains 'qq'"),
        ("generate_image", {}, "prompt"),
    ):
        answer = await client.call_tool(name, given)
        assert answer.is_error and said in text_of(answer), (name, text_of(answer))
    # 3. A part of the picture is redrawn.
    edited = await client.call_tool(
        "edit_image", {"image": str(path), "prompt": "a cat", "mask": "0,0,8,8", "seed": 9}
    )
    assert not edited.is_error and f"{out / 'limner-9'}" in text_of(edited)
    # 4. What it can draw.
    assert "16 x 16 pixels" in text_of(await client.call_tool("describe_model", {}))
    assert "apple" in text_of(await client.call_tool("list_words", {"search": "app"}))


def test_a_client_draws_over_standard_input(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="needs the extra mcp")
    from mcp import StdioServerParameters

    program, *words = command(folder, tmp_path / "out")
    environment = {**os.environ, "LIMNER_NATIVE": "0"}
    server = StdioServerParameters(command=program, args=words, env=environment)
    asked(server, lambda client: everything(client, tmp_path / "out"))


def test_a_client_draws_over_http(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="needs the extra mcp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = command(folder, tmp_path / "out", "--http", "--port", str(port))
    process = subprocess.Popen(words, env={**os.environ, "LIMNER_NATIVE": "0"})
    try:
        wait_until(lambda: _answers(port), process)
        url = f"http://127.0.0.1:{port}/mcp"
        asked(url, lambda client: everything(client, tmp_path / "out"))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _answers(port: int) -> bool:
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("0.0.0.0", 80, "other machines can reach"),
        ("example.org", 80, "other machines can reach"),
        ("127.0.0.1", 0, "port is 0"),
        ("127.0.0.1", 65536, "port is 65536"),
    ],
)
def test_an_address_that_others_reach_is_refused(host: str, port: int, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_address(host, port)
    for here in ("localhost", "127.0.0.1", "::1"):
        check_address(here, 80)


def test_it_says_what_it_needs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "mcp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limner\[mcp\]'"):
        build(Tools(str(folder), tmp_path))
