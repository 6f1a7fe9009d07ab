"""The first sign of life, plain lines, bars, and the time a command took."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limner.cli import main
from limner.cli.shared import progress
from limner.cli.shared.progress import (
    clock,
    loading,
    process_age,
    showing,
    start_clock,
    with_progress,
)
from limner.types import Step
from tests.data.source_files import write_image_folder
from tests.json_answers import CONFIG
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).resolve().parents[3]
# Says when torch is first imported, and imports it no further: only what comes before is looked at.
WATCHED = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.write(2, b"<torch>")
            os._exit(9)
sys.meta_path.insert(0, Watch())
sys.argv = ["limner", *sys.argv[1:]]
from limner.__main__ import run
run()
"""
COMMANDS = [
    ["draw", "x"],
    ["vary", "photo.png"],
    ["again", "drawn.png", "--model", "model"],
    ["eval", "default", "--on", "p.txt"],
    ["compare", "default", "default", "--on", "p.txt"],
    ["arena", "default", "default", "--prompts", "p.txt"],
    ["rank", "photo.png", "--prompt", "x"],
    ["clip", "classify", "photo.png", "--labels", "a,b"],
    ["train", "run.toml"],
    ["adapt", "default", "--on", "photos", "--out", "a.safetensors"],
    ["data", "encode", "photos", "--codec", "default", "--out", "codes"],
    ["audit", "memorisation", "default", "--train", "photos"],
    ["audit", "bias", "default", "--labels", "a,b"],
    ["doctor"],
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the commands read before they load a model."""
    import limner

    folder = tmp_path_factory.mktemp("inputs")
    model = save_tiny_model(folder / "model")
    (picture,) = limner.draw("a red apple", model=model, seed=1)
    picture.save(folder / "drawn.png")
    picture.save(folder / "photo.png", metadata=False)
    write_image_folder(folder / "photos", 2)
    (folder / "p.txt").write_text("a red apple\n")
    (folder / "run.toml").write_text(CONFIG)
    return folder


def on_a_terminal(words: list[str], folder: Path, **environment: str) -> tuple[int, str]:
    """Return the exit code of the watched command, and what it says to a terminal."""
    master, slave = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, *words], cwd=folder, stdout=subprocess.DEVNULL,
        stderr=slave, env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | environment,
    ) as process:  # fmt: skip
        os.close(slave)
        told = b""
        while piece := _read(master):
            told += piece
    os.close(master)
    return process.returncode, told.decode()


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # Linux says so when the last writer has gone
        return b""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_a_person_sees_a_sign_before_torch_is_imported(words: list[str], inputs: Path) -> None:
    code, told = on_a_terminal(words, inputs)
    assert code == 9, told
    assert re.fullmatch(r"(\rloading [^\r\n]+…\r\x1b\[K)*\rloading [^\r\n]+…<torch>", told), told


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_without_a_cursor_gets_plain_lines_and_the_quiet_nothing(inputs: Path) -> None:
    assert on_a_terminal(["draw", "x"], inputs, TERM="dumb")[1] == "loading default…\r\n<torch>"
    assert on_a_terminal(["draw", "x", "-q"], inputs)[1] == "<torch>"


def steps(count: int) -> list[Step]:
    return [Step(each, count) for each in range(1, count + 1)]


def test_a_log_gets_a_plain_line_when_it_was_silent_for_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_clock(whole_process=False)
    assert list(with_progress(iter(steps(3)), "a cat")) == steps(3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "SILENCE", 0.0)
    list(with_progress(iter(steps(3)), "a cat"))
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "a cat: 1 of 3, 0 s so far"
    assert others == [f"a cat: {each} of 3, 0 s so far, 0 s left" for each in (2, 3)]
    with showing() as show:
        show("reading", 5)
        show("reading", 6, 9, "loss 1.0")
    assert capsys.readouterr().err.splitlines() == [
        "reading: 5 done, 0 s so far",
        "reading: 6 of 9, 0 s so far, loss 1.0",
    ]
    monkeypatch.setattr(clock(), "quiet", True)
    list(with_progress(iter(steps(3)), "a cat"))
    assert capsys.readouterr().err == ""


def test_a_run_that_goes_on_counts_its_speed_from_where_it_began(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_clock(whole_process=False)
    monkeypatch.setattr(progress, "SILENCE", 0.0)
    now = time.perf_counter()
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    with showing() as show:
        show("codec", 0)
        now += 30
        show("codec", 1660, 2650)
        now += 10
        show("codec", 1670, 2650)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "codec: 1660 of 2650, 30 s so far",
        "codec: 1670 of 2650, 40 s so far, 16 min 20 s left",
    ]


def test_loading_is_counted_from_the_start_and_told_at_the_end(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_clock(whole_process=False)
    monkeypatch.setattr(clock(), "began", time.perf_counter() - 100)
    with loading("a model"):
        pass
    assert 100 <= clock().loading < 160
    with loading("another"):
        pass
    assert 100 <= clock().loading < 160  # only the first one has what came before it
    assert re.fullmatch(r"done in 1\d\d\.\d s \(loading 1\d\d\.\d s\)", clock().took())
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path / "model")
    with pytest.raises(SystemExit):
        main(["draw", "a red apple", "-n", "2", "--seed", "7", "--model", "model"])
    told = capsys.readouterr().err
    assert re.search(r"seed 7, 2 pictures in \d+\.\d s \(loading \d+\.\d s\); the same again", told)


def test_what_a_command_takes_counts_from_the_start_of_the_process() -> None:
    script = "import time; time.sleep(0.5)\nfrom limner.cli.shared.progress import process_age"
    told = subprocess.run(
        [sys.executable, "-c", f"{script}\nprint(process_age())"], cwd=ROOT, text=True,
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert float(told) == 0 or float(told) >= 0.5  # 0 where the system does not tell
    assert process_age() >= 0


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert progress.shows_colours()
    monkeypatch.setenv(name, value)
    assert not progress.shows_colours()
