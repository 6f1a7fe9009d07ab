"""The first minute: what `make draw` and scripts/make-venv print works as it is printed."""

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
STUB = '#!/bin/sh\necho "$0 $*" >> "$(dirname "$0")/../../called"\n'

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shell scripts")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose .venv holds programs that only write down how they were called."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "make-venv", tmp_path / "scripts" / "make-venv")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "pip", "limner"):
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)
    return tmp_path


def run(clone: Path, *words: str, **environment: str) -> str:
    """Run a command and return what it says on stderr."""
    told = {"PATH": "/usr/bin:/bin", "HOME": str(clone), **environment}
    return subprocess.run(
        words, cwd=clone, env=told, capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stderr


def calls(clone: Path) -> list[str]:
    return (clone / "called").read_text().splitlines()


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_draw_says_what_to_type_next(clone: Path) -> None:
    said = run(clone, "make", "draw")
    assert said.splitlines()[-2:] == [
        "To draw more, type: source .venv/bin/activate",
        "From then on this shell knows limner; without it, write .venv/bin/limner.",
    ]
    assert calls(clone)[-1].startswith(".venv/bin/limner draw --out pictures/ -- three red apples")
    active = f"{clone}/.venv/bin:/usr/bin:/bin"
    assert "activate" not in run(clone, "make", "draw", PATH=active)
    assert len([line for line in calls(clone) if "pip install" in line]) == 1


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="of torch's builds for Linux")
def test_the_script_says_how_much_comes_and_how_to_have_less(clone: Path) -> None:
    said = run(clone, "scripts/make-venv")
    assert "Installing limner into .venv" in said
    assert "torch with CUDA is most of it: about 5 GB on disk, seven minutes or more" in said
    line = "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make draw"
    assert (line in said) != Path("/dev/nvidiactl").exists()
    word, _, value = line.split()[0].partition("=")
    assert "5 GB" not in run(clone, "scripts/make-venv", **{word: value})
    (clone / ".venv/lib/python3.12/site-packages/torch").mkdir(parents=True)
    assert "GB" not in run(clone, "scripts/make-venv")


def test_pip_shows_how_far_it_is_where_a_person_looks(clone: Path) -> None:
    run(clone, "scripts/make-venv")
    assert "--quiet" in calls(clone)[-1]
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            ["scripts/make-venv", "dev"], cwd=clone, stderr=theirs, check=True, timeout=PATIENCE
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert "--quiet" not in calls(clone)[-1] and calls(clone)[-1].endswith("--editable .[dev]")
