"""docs/clients.md: its code draws on a server, and what it names is there."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import limner
from limner.cli import main
from tests.server.servers import Client, client_of, save_models, serving

from limner.server.config import ServerConfig  # isort: skip
from limner.server.schemas import Generation  # isort: skip

ROOT = Path(limner.__file__).parent.parent
TEXT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
KEY = "sk-0123456789abcdef"
PLACE = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "keys.txt").write_text(KEY, encoding="utf-8")
    config = ServerConfig(port=0, models=save_models(folder), keys=str(folder / "keys.txt"))
    with serving(config) as server:
        yield client_of(server, KEY)


def run(block: str, client: Client) -> dict[str, object]:
    names: dict[str, object] = {"KEY": KEY}
    code = block.replace(PLACE, f"http://127.0.0.1:{client.port}")
    exec(compile(code, "docs/clients.md", "exec", dont_inherit=True), names)
    return names


def test_the_code_of_openais_client_draws(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="OpenAI's client is not installed")
    monkeypatch.chdir(tmp_path)
    run(blocks("python")[0], client)
    with Image.open("apple.png") as image:
        assert image.format == "PNG"
    for name in re.findall(r"`(\w+)`", TEXT.split("`extra_body` takes")[1].split(".")[0]):
        assert name in Generation.model_fields


def test_the_code_of_langchain_draws(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("langchain_community", reason="LangChain is not installed")
    run(blocks("python")[1], client)
    assert "/pictures/" in capsys.readouterr().out


def test_the_line_of_curl_draws(client: Client) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    line = blocks("sh")[0].replace(PLACE, f"http://127.0.0.1:{client.port}").replace("$KEY", KEY)
    found = subprocess.run(shlex.split(line), capture_output=True, check=True, text=True)
    assert f"http://127.0.0.1:{client.port}/pictures/" in found.stdout


def test_addresses_are_those_of_a_server_without_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ServerConfig()
    assert f"http://{config.host}:{config.port}" == PLACE
    assert set(re.findall(r"http://127[\w.:/]+", TEXT)) == {
        PLACE, f"{PLACE}/v1", f"{PLACE}/v1/images/generations",
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys.txt").write_text(KEY, encoding="utf-8")
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if "serve" in line]
    with pytest.raises(SystemExit) as ended:
        main([*shlex.split(line)[1:], "--explain"])
    assert ended.value.code == 0


def test_answers_are_those_that_the_server_gives() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "limner" / "server").glob("*.py")
    )
    told = re.findall(r"^\| (\d{3}) `(\w+)` \|", TEXT, re.M)
    assert len(told) > 6
    for _, code in told:
        name = re.sub(r"^(host|origin)_", "", code)
        assert name in source, code
