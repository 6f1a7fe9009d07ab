"""runs/speedrun.sh: it consists of limner's own commands, and the whole story runs, here tiny."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_tiny_story_ends_with_scores_and_drawings(tmp_path: Path, emoji_font: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "limner").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m limner "$@"\n')
    (programs / "limner").chmod(0o755)
    paths = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    paths["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
    )
    told = {"PERCENT": "0", "OUT": str(tmp_path / "story"), "LIMNER_FONT": str(emoji_font)}
    ran = subprocess.run(
        ["sh", str(SCRIPT)],
        env={**os.environ, **paths, **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    chapters = re.findall(r"^== (\d)\.", ran.stderr, re.M)
    assert chapters == ["1", "2", "3", "4", "5"]
    story = tmp_path / "story"
    assert len(list((story / "scenes").glob("*.png"))) == 20
    assert (story / "prior" / "model" / "model.safetensors").is_file()
    assert (story / "scores" / "report.html").is_file()
    assert len(list((story / "drawn").glob("*.png"))) == 2 * (4 + 1)
    assert re.search(r"held_out .* 0\.\d\d", ran.stdout)
