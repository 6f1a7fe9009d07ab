"""`limner data` as a person runs it: answers, files and exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limner import draw
from limner.cli import main
from limner.data.batches.encoded import read_encoded
from tests.data.source_files import encoded, picture, write_image_folder, write_pairs
from tests.tiny_model import SIZE, save_tiny_model
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
        (["--level", "9"], 2, "give --level 4, or 7 for all things"),
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


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["data", *map(str, words)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_check_tells_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image_folder(tmp_path / "a", 5)
    write_pairs(tmp_path / "b", 2)
    assert run("check", tmp_path / "a", "--validation", f"pairs:{tmp_path / 'b'}") == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "(imagefolder)" in told.out
    assert "pictures  5, 40 wide, 32 high (pixels)" in told.out
    assert "latin 5, chinese 5" in told.out
    assert "of these in training too: 2 exactly, 0 nearly" in told.out


def test_a_check_shows_captions_and_what_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image_folder(tmp_path / "a", 5)
    (tmp_path / "a" / "003.txt").write_text("not read")
    assert run("check", tmp_path / "a") == 0
    told = capsys.readouterr().out
    assert "    '002.png': thing 2 | 第2个东西\n" in told
    assert "  unused    1\n    caption files beside pictures" in told
    assert "(1): '003.txt'\n" in told


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_names_that_are_no_text_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    write_pairs(tmp_path / "a", 2)
    for end in ("png", "txt"):
        (tmp_path / "a" / f"001.{end}").rename(tmp_path / "a" / f"caf\udce9\n.{end}")
    assert run("check", tmp_path / "a", *words) == 0
    assert r"caf\udce9\n.png" in capsys.readouterr().out


def test_a_check_of_what_training_refuses_reports_and_exits_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path / "a", 10)
    (tmp_path / "a" / "003.png").write_bytes(encoded(picture(3))[:90])
    out = tmp_path / "out"
    assert run("check", tmp_path / "a", "--out", out, "--json") == 3
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert (report["usable"], report["bad"]["total"]) == (False, 1)
    assert "1 samples are bad, more than 1 %" in told.err
    assert json.loads((out / "bad_samples.jsonl").read_text("utf-8"))["key"] == "003.png"


@pytest.mark.parametrize("command", ["check", "clean"])
@pytest.mark.parametrize(
    ("place", "code", "reason"),
    [
        ("missing", 3, "is not there"),
        ("empty", 3, "no captioned picture"),
        ("pair:x", 2, "did you mean 'pairs'"),
        ("twins", 3, "share a stem"),
        ("webdataset:file:///etc/x.tar", 3, "no http or https address"),
        ("pipe.jsonl", 3, "no regular file"),
    ],
)
def test_sources_that_cannot_be_opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    place: str,
    code: int,
    reason: str,
) -> None:
    import os

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_pairs(tmp_path / "twins", 2)
    (tmp_path / "twins" / "001.jpg").write_bytes(encoded(picture(1), "JPEG"))
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert run(command, place, "--out", "out", "--json") == code
    told = capsys.readouterr()
    assert told.out == ""
    assert reason in told.err and told.err.count("\n") == 1 and "Traceback" not in told.err
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("command", ["check", "clean"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    write_pairs(tmp_path / "a", 2)
    (tmp_path / "a" / "001.png").write_bytes(b"would be noted as bad")
    assert run(command, tmp_path / "a", "--out", "/proc/limner/out") == 5
    assert "cannot write" in capsys.readouterr().err
    assert run(command, tmp_path / "a", "--out", tmp_path / "a") == 2


def test_cleaning_writes_lists_and_a_clean_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path / "a", 3)
    (tmp_path / "a" / "3.png").write_bytes(encoded(picture(0)))
    (tmp_path / "a" / "3.txt").write_text("the first again")
    out = tmp_path / "out"
    words = ["--fit", "crop", "--size", "16", "--write"]
    assert run("clean", tmp_path / "a", "--out", out, *words) == 0
    assert capsys.readouterr().out == f"{out}: 3 of 4 samples are kept\n"
    names = {path.name for path in out.iterdir()}
    assert names == {
        "bad_samples.jsonl",
        "drop.jsonl",
        "keep.txt",
        "pictures",
        "report.html",
        "report.json",
    }
    assert run("check", out / "pictures", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"]["width"] == {"least": 16, "median": 16, "most": 16}
    assert report["copies"]["exact"] == report["copies"]["near"] == 0


def test_wrong_settings_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path / "a", 2)
    assert run("clean", tmp_path / "a", "--out", tmp_path / "out", "--fit", "stretch") == 2
    assert "choose one of keep, crop, pad, squash" in capsys.readouterr().err


def test_encoding_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path / "a", 5)
    model, out = save_tiny_model(tmp_path / "tiny"), tmp_path / "out"
    words: list[str | Path] = ["encode", tmp_path / "a", "--codec", model, "--out", out]
    assert run(*words, "--crops", "2", "--flip", "0.5") == 0
    assert capsys.readouterr().out == f"{out}: 5 pictures, 2 codes of each\n"
    encoded_there = read_encoded(out)
    assert encoded_there.codes.shape[:2] == (5, 2)
    assert encoded_there.manifest["augment"]["flip"] == 0.5
    wrong: list[tuple[list[str | Path], int, str]] = [
        (["--crops", "0"], 2, "crops is 0; give 1 to 64"),
        (["--flip", "3"], 2, "flip is 3.0"),
        ([], 2, "is not empty"),
        (["--codec", tmp_path / "a", "--out", tmp_path / "b"], 4, "is not a trained codec"),
    ]
    for more, code, reason in wrong:
        assert run(*words, *more) == code
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)  # a Ray takes seconds to start
def test_encoding_on_a_ray_of_its_own(tmp_path: Path) -> None:
    """Run in a process of its own, as a person does: nothing but the answer is printed."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'limner[ray]'")
    write_pairs(tmp_path / "a", 5)
    model, out = save_tiny_model(tmp_path / "tiny"), tmp_path / "out"
    words = ["data", "encode", tmp_path / "a", "--codec", model, "--out", out, "--ray"]
    command = [sys.executable, "-m", "limner", *map(str, words)]
    ended = subprocess.run([*command, "local"], capture_output=True, text=True)
    assert ended.stdout == f"{out}: 5 pictures, 1 codes of each\n" and ended.returncode == 0
    assert ended.stderr == ""
    assert len(read_encoded(out)) == 5
    command[command.index(str(out))] = str(tmp_path / "other")
    ended = subprocess.run([*command, "127.0.0.1:9"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert "no Ray cluster answers at '127.0.0.1:9'" in ended.stderr
    assert not (tmp_path / "other").exists()


RUN = """
task = "prior"
out = "prior"
codec_from = "tiny"
[prior]
name = "gpt"
width = 16
layers = 1
heads = 2
hidden = 16
[data]
source = "codes"
[loop]
steps = 2
batch = 4
warmup = 1
validate_every = 2
sample_every = 2
"""


@pytest.mark.slow
@pytest.mark.timeout(300)  # a Ray takes seconds to start
def test_a_prior_trains_on_codes_that_ray_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encode on a real local Ray, then train with the one training command, as a person does."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'limner[ray]'")
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "a", 24)
    save_tiny_model(tmp_path / "tiny")
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    encoding = ["data", "encode", "a", "--codec", "tiny", "--out", "codes", "--ray", "local"]
    for words in (encoding, ["train", "run.toml"]):
        ended = subprocess.run(
            [sys.executable, "-m", "limner", *words], capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
    (drawn,) = draw("thing 3", model=tmp_path / "prior" / "model", seed=1)
    assert drawn.image.size == (SIZE, SIZE)
