"""The commands that limner prints are those that can be typed where it was called."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from limner.cli.shared.calling import called_as
from tests.tiny_model import save_tiny_model
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A console script as pip writes it, in a folder that is not on the path."""
    folder = tmp_path / "env" / "bin"
    folder.mkdir(parents=True)
    path = folder / "limner"
    path.write_text(f"#!{sys.executable}\nfrom limner.cli import main\nmain()\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("way", ["script", "module"])
def test_the_same_again_works_as_it_is_printed(script: Path, tmp_path: Path, way: str) -> None:
    save_tiny_model(tmp_path / "m")
    words = ["env/bin/limner"] if way == "script" else [sys.executable, "-m", "limner"]
    told = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    asked = [*words, "draw", "a red apple", "--model", "m", "--out", "one.png"]
    first = subprocess.run(
        asked, cwd=tmp_path, env=told, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    again = re.search("the same again: (.*)", first.stderr)
    assert again and shlex.split(again[1])[: len(words)] == words
    subprocess.run(
        ["sh", "-c", again[1]], cwd=tmp_path, env=told, capture_output=True, check=True,
        timeout=PATIENCE,
    )  # fmt: skip
    pictures = [each.read_bytes() for each in tmp_path.glob("one*.png")]
    assert len(pictures) == 2 and pictures[0] == pictures[1]


def test_a_script_is_called_by_its_name_or_its_path(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert called_as() == ["env/bin/limner"]
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin")
    assert called_as() == ["limner"]
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(script, other / "limner")
    monkeypatch.setenv("PATH", f"{other}:{script.parent}")  # the shell takes another one
    assert called_as() == ["env/bin/limner"]
    monkeypatch.chdir(other)
    assert called_as() == [str(script)]
    monkeypatch.chdir(script.parent)
    assert called_as() == ["./limner"]


def test_what_is_run_in_another_program_is_called_limner(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("/usr/bin/pytest", "", "-c", "/nowhere/limner"):
        monkeypatch.setattr(sys, "argv", [name])
        assert called_as() == ["limner"]
