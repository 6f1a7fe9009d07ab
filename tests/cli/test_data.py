"""`limner data make scenes` as a person runs it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limner.cli import main
from tests.waiting import PATIENCE, ended, wait_until

ROOT = Path(__file__).resolve().parents[2]


def ran(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["data", "make", "scenes", *words])
    return int(caught.value.code or 0)


def test_a_folder_is_made_and_named(
    tmp_path: Path, emoji_font: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--count", "3", "--size", "32", "--out", str(out), "--font", str(emoji_font)]
    assert ran(*words) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}\n" and told.err == ""
    assert len(list(out.glob("*.png"))) == 3
    assert ran(*words) == 2
    assert "is not empty" in capsys.readouterr().err


def test_json_tells_what_was_made(
    tmp_path: Path, emoji_font: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = (
        f"--split held_out --count 2 --size 32 --level 2 --seed 5 --language zh --json --out {out}"
    )
    assert ran(*words.split(), "--font", str(emoji_font)) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("seconds") >= 0
    assert answer == {
        "out": str(out),
        "split": "held_out",
        "count": 2,
        "size": 32,
        "level": 2,
        "seed": 5,
        "language": "zh",
    }


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--count", "0"], 2, "count 0 is out of range"),
        (["--level", "6"], 2, "give --level 1, 2, 3, 4 or 5"),
        (["--split", "test"], 2, "choose one of train, validation, held_out"),
        (["--language", "fr"], 2, "choose one of en, zh, both"),
        (["--font", "/nowhere.ttf"], 3, "no emoji font at /nowhere.ttf"),
        (["--size", "4"], 2, "give 16 to 512 pixels"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("--out", str(tmp_path / "out"), *words) == code
    error = capsys.readouterr().err
    assert error.startswith("limner: ") and told in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def heed_interrupts() -> None:
    """Undo what a shell does to what it starts in the background: interrupts are ignored there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_behind(
    number: signal.Signals, code: int, tmp_path: Path, emoji_font: Path
) -> None:
    words = ["data", "make", "scenes", "--count", "1000000", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "limner", *words, "--font", str(emoji_font)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )
    metadata = tmp_path / "out.partial" / "metadata.jsonl"
    with ended([process]):
        wait_until(lambda: metadata.exists() and metadata.stat().st_size, process)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []
