"""How commands end that do not end well, in processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limner.cli.shared.endings import sentence_of
from limner.errors import ResourceError

ROOT = Path(__file__).resolve().parents[3]
# Sends a signal to itself where a module is first imported, however long that takes to come.
STRUCK = """
import os, sys
where, number = sys.argv[1], int(sys.argv[2])
class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == where:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Strike())
sys.argv = ["limner", *sys.argv[3:]]
from limner.__main__ import run
run()
"""
SWALLOWED = STRUCK.replace(
    "os.kill(os.getpid(), number)",
    "\n            try: os.kill(os.getpid(), number)\n            except BaseException: pass",
)


def heed_interrupts() -> None:
    """Undo what a shell does to what it starts in the background: interrupts are ignored there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def struck(script: str, where: str, number: int, folder: Path) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-c", script, where, str(number), "draw", "a cat"], cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("where", ["typer", "limner.cli.draw", "torch", "limner.pipelines.dalle"])
def test_ctrl_c_shows_no_traceback_while_modules_are_imported(where: str, tmp_path: Path) -> None:
    assert struck(STRUCK, where, signal.SIGINT, tmp_path) == (130, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_signal_that_a_module_swallows_ends_the_command(tmp_path: Path) -> None:
    assert struck(SWALLOWED, "torch", signal.SIGINT, tmp_path) == (130, "", "")
    assert struck(SWALLOWED, "torch", signal.SIGTERM, tmp_path) == (143, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_termination_leaves_as_an_exception_does(tmp_path: Path) -> None:
    assert struck(STRUCK, "torch", signal.SIGTERM, tmp_path) == (143, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["draw", "--help"]])
def test_help_on_a_full_disk_and_a_closed_pipe(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "limner", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert ended.returncode == 5
    told = "limner: cannot write the answer: No space left on device; send it to another place\n"
    assert ended.stderr == told
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_stderr_that_takes_nothing_ends_no_command(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "limner", "draw", ""], cwd=tmp_path, stderr=full, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, b"")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OSError(28, "No space left on device", "a/b"), 5, "cannot use 'a/b': No space left"),
        (OSError(27, "File too large"), 5, "the system refuses: File too large; free space"),
        (PermissionError(13, "Permission denied", "x"), 5, "cannot use 'x': Permission denied"),
        (ResourceError("all is full"), 5, "all is full"),
        (FileNotFoundError(2, "No such file", "x"), 1, "internal error, FileNotFoundError"),
        (MemoryError(), 5, "there is not enough memory"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(error: Exception, code: int, told: str) -> None:
    said, found = sentence_of(error)
    assert found == code and told in said
