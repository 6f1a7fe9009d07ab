"""runs/speedrun.sh: it consists of limner's own commands, and the whole story runs, here tiny."""

import contextlib
import io
import os
import re
import subprocess
from pathlib import Path

import pytest

from limner.cli import main
from limner.train.inputs import caches
from limner.train.reading import read_config
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "runs" / "speedrun.sh"
TEXT = SCRIPT.read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell script")


def test_it_is_a_story_of_limner_commands() -> None:
    joined = re.sub(r"\\\n\s*", "", TEXT)
    commands = re.findall(r"^limner (\w+)", joined, re.M)
    assert commands == ["data", "data", "train", "train", "eval", "draw", "draw"]
    known = ("#", "limner ", "say ", "set ", "cd ", "if ", "out=", "percent=", "part()", "say()")
    assert [line for line in joined.splitlines() if line and not line.startswith(known)] == []
    for name in re.findall(r"^limner train (\S+)", joined, re.M):
        read_config(ROOT / name)


def typed(script: Path, environment: dict[str, str]) -> tuple[list[list[str]], str]:
    """Return the words of each limner command that a shell script runs, and its stderr."""
    programs = script.parent / "bin"
    programs.mkdir()
    program = '#!/bin/sh\nprintf "%s\\037" "$@" >>"$TYPED"\necho >>"$TYPED"\n'
    (programs / "limner").write_text(program)
    (programs / "limner").chmod(0o755)
    told = script.parent / "typed"
    paths = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "TYPED": str(told)}
    ran = subprocess.run(
        ["sh", str(script)],
        env={**os.environ, **paths, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    lines = told.read_text(encoding="utf-8").splitlines()
    return [line.split("\037")[:-1] for line in lines], ran.stderr


def test_the_tiny_story_ends_with_scores_and_drawings(
    tmp_path: Path, emoji_font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A shell says what there is to do, and it is done here, where all is imported already. From a
    # copy, because the script takes the limner of the environment that lies beside it.
    script, story = tmp_path / "runs" / "speedrun.sh", tmp_path / "story"
    script.parent.mkdir()
    script.write_text(TEXT, encoding="utf-8")
    commands, said = typed(script, {"PERCENT": "0", "OUT": str(story)})
    assert re.findall(r"^== (\d)\.", said, re.M) == ["1", "2", "3", "4", "5"]
    assert len(commands) == 7
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 200)
    printed = io.StringIO()
    for words in commands:
        with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(printed):
            main(words)
        assert ended.value.code == 0, words
    assert len(list((story / "scenes").glob("*.png"))) == 20
    assert (story / "prior" / "model" / "model.safetensors").is_file()
    assert (story / "scores" / "report.html").is_file()
    assert len(list((story / "drawn").glob("*.png"))) == 2 * (4 + 1)
    assert re.search(r"held_out .* 0\.\d\d", printed.getvalue())
