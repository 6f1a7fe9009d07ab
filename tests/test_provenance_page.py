"""docs/provenance.md works word for word, with the embedded model."""

import json
import re
import shlex
from pathlib import Path

import pytest

import limner
from limner.cli import main

TEXT = (Path(limner.__file__).parent.parent / "docs" / "provenance.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def test_the_commands_of_the_page_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (policy,) = blocks("toml")
    Path("own.toml").write_text(policy, encoding="utf-8")
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        name, *words = shlex.split(line)
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert (name, ended.value.code) == ("limner", 0), line
    assert "invisible watermark  found" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["draw", "an 4cme car", "--policy", "own.toml"])
    assert ended.value.code == 6


def test_the_python_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("c2pa", reason="needs the extra c2pa")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python")
    exec(compile(block, "docs/provenance.md", "exec", dont_inherit=True), {})
    assert "PRIVATE KEY" in Path("limner.pem").read_text(encoding="ascii")


def test_the_configuration_of_a_client_is_a_command() -> None:
    (block,) = blocks("json")
    server = json.loads(block)["mcpServers"]["limner"]
    assert (server["command"], server["args"][0]) == ("limner", "mcp")
