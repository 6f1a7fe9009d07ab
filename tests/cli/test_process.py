"""`limner` as a process of its own: what it writes, how fast it answers, what a terminal shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import limner
from limner.cli import main
from tests.tiny_model import save_tiny_model
from tests.waiting import PATIENCE

PROMPT = "three red apples under the night sky"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "model")


def in_a_process(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "limner", *words], cwd=cwd, timeout=PATIENCE, check=False,
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip


def test_a_picture_is_the_same_in_two_processes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("draw", PROMPT, "--seed", "7", "--model", str(folder), "--out")
    assert in_a_process(*words, "a.png", cwd=tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*words, "b.png"])  # this process is the other one
    assert ended.value.code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path) -> None:
    for words in (("--debug", "draw", ""), ("draw", "", "--debug"), ("draw", "")):
        answer = in_a_process(*words, cwd=tmp_path)
        assert answer.returncode == 2
        assert answer.stderr.splitlines()[-1].startswith("limner: the prompt is empty")
        assert ("Traceback" in answer.stderr) == ("--debug" in words)


def processor_seconds_of_children() -> float:
    """Return what the processes that this one started and saw end have used."""
    times = os.times()
    return times.children_user + times.children_system


def test_help_and_version_are_fast_and_load_nothing_heavy(tmp_path: Path) -> None:
    seconds = []
    for _ in range(3):
        began = processor_seconds_of_children()
        answer = in_a_process("--help", cwd=tmp_path)
        seconds.append(processor_seconds_of_children() - began)
        assert answer.returncode == 0
        assert "draw" in answer.stdout
        assert "models" in answer.stdout
    assert min(seconds) < 1  # 0.3 s is the promise on an idle machine; benchmarks/ measures it
    assert in_a_process("--version", cwd=tmp_path).stdout == f"limner {limner.__version__}\n"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_gets_a_preview_unless_it_is_not_wanted(folder: Path, tmp_path: Path) -> None:
    words = ["draw", "a red apple", "--seed", "7", "--model", str(folder), "--out", "o"]
    ways: list[list[str]] = [[], ["--no-preview"], ["--json"]]
    shown = on_a_terminal([[*words, *extra] for extra in ways], tmp_path)
    assert ["▀" in each for each in shown] == [True, False, False]


# One command after the other, for a start takes longer than they do; a form feed ends each.
COMMANDS = """
import json, sys
from limner.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as ended:
        assert ended.code == 0, words
    print("\\f", flush=True)
"""


def on_a_terminal(commands: list[list[str]], cwd: Path) -> list[str]:
    """Return what commands print on stdout when that is a terminal."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)], cwd=cwd, stdout=slave,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path.cwd()), "COLUMNS": "80", "PYTHONUTF8": "1"},
    )  # fmt: skip
    os.close(slave)
    printed = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux says so when the last writer has gone
            break
        if not piece:
            break
        printed += piece
    os.close(master)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors.decode()
    return printed.decode().split("\f")[:-1]


@pytest.mark.slow
@pytest.mark.timeout(300)  # a Ray takes seconds to start
def test_many_prompts_are_drawn_on_a_ray(folder: Path, tmp_path: Path) -> None:
    """Run in processes of their own, as a person does; the files are those of drawing here."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'limner[ray]'")
    (tmp_path / "prompts.txt").write_text("\n".join(f"apple {n}" for n in range(5)))
    words = ["draw", "--prompts", "prompts.txt", "--seed", "3", "-n", "2", "--model", str(folder)]
    command = [sys.executable, "-m", "limner", *words, "--quiet", "--out"]
    environment = {**os.environ, "PYTHONPATH": str(Path(limner.__file__).parent.parent)}
    runs = {"here": [], "there": ["--ray", "local"]}
    for name, more in runs.items():
        ended = subprocess.run(
            [*command, name, *more], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.splitlines() == [f"{name}/{each}" for each in in_order()]
    assert all(
        (tmp_path / "here" / each).read_bytes() == (tmp_path / "there" / each).read_bytes()
        for each in in_order()
    )


def in_order() -> list[str]:
    kinds = ("3", "4", "3-grid")
    return [f"apple-{number}-{kind}.png" for number in range(5) for kind in kinds]
