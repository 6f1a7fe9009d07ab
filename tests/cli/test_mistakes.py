"""What people and machines do wrong, for every command: one sentence, its exit code, no remains.

Each command has a row with a case of each kind, or the reason why there is none.
"""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer

from limner import cli, registry
from limner.data.batches import encode
from limner.server.arena import ArenaServer
from tests.data.collection_files import write_clipart, write_stamps
from tests.data.source_files import write_image_folder
from tests.json_answers import CONFIG
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

FULL, CLOSED = 5, 141
ANSWER = "cannot write the answer: No space left on device; send it to another place"
BYTES = 64  # the longest file that a full disk takes
NO_MODEL = "it takes no model"
NO_FILE = "it reads no file"
NO_NUMBER = "it takes no number"
NO_WRITING = "it writes no file, and its answer meets the full disk"


@dataclass(frozen=True)
class Case:
    """The words after a command, its exit code, and what the sentence says."""

    words: str
    code: int
    told: str


@dataclass(frozen=True)
class Row:
    """What goes wrong with a command: a case of each kind, or why there is none.

    `answers` are words with which it answers, for the pipe that is closed; `full` is what a disk
    without room refuses, the answer itself where it is a str.
    """

    answers: str
    model: Case | str
    missing: Case | str
    number: Case | str
    full: Case | str
    refused: Case | str


UNKNOWN = "unknown model 'nosuch'"
PROC = "cannot write in '/proc/nowhere'"
ROWS = {
    "draw": Row(
        "x -q --no-preview",
        Case("x --model nosuch", 2, UNKNOWN),
        Case("--prompts absent.txt", 3, "cannot read the prompts 'absent.txt'"),
        Case("x -n 0", 2, "n is 0"),
        Case("x", FULL, "cannot write"),
        Case("x --out /proc/nowhere", 5, PROC),
    ),
    "vary": Row(
        "{in}/photo.png -q",
        Case("{in}/photo.png --model nosuch", 2, UNKNOWN),
        Case("absent.png", 3, "cannot read the picture 'absent.png'"),
        Case("{in}/photo.png --steps 0", 2, "steps is 0"),
        Case("{in}/photo.png", FULL, "cannot write"),
        Case("{in}/photo.png --out /proc/nowhere", 5, PROC),
    ),
    "again": Row(
        "{in}/drawn.png",
        Case("{in}/drawn.png --model nosuch", 2, UNKNOWN),
        Case("absent.png", 3, "cannot read the picture 'absent.png'"),
        Case("{in}/drawn.png -n 0", 2, "n is 0"),
        Case("{in}/drawn.png", FULL, "cannot write"),
        Case("{in}/drawn.png --out /proc/nowhere", 5, PROC),
    ),
    "info": Row(
        "{in}/drawn.png",
        NO_MODEL,
        Case("{in}/drawn.png absent.png", 3, "cannot read the picture 'absent.png'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem", 3, "cannot read the picture '/proc/self/mem'"),
    ),
    "models list": Row("", NO_MODEL, NO_FILE, NO_NUMBER, NO_WRITING, NO_FILE),
    "models parts": Row("", NO_MODEL, NO_FILE, NO_NUMBER, NO_WRITING, NO_FILE),
    "models show": Row(
        "default",
        Case("nosuch", 2, UNKNOWN),
        Case("./nosuch", 2, "there is no model folder at './nosuch'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem", 4, "/proc/self/mem"),
    ),
    "models words": Row(
        "gan",
        Case("nosuch", 2, UNKNOWN),
        Case("./nosuch", 2, "there is no model folder at './nosuch'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem", 4, "/proc/self/mem"),
    ),
    "data make stamps": Row(
        "--from {in}/packages --size 16 --out made",
        NO_MODEL,
        Case("--from absent --out made", 2, "is not in 'absent'"),
        Case("--from {in}/packages --size 0 --out made", 2, "size"),
        Case("--from {in}/packages --size 16 --out made", FULL, "cannot write"),
        Case("--from {in}/packages --size 16 --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data make clipart": Row(
        "--from {in}/packages --size 16 --out made",
        NO_MODEL,
        Case("--from absent --out made", 2, "is not in 'absent'"),
        Case("--from {in}/packages --count -1 --out made", 2, "count"),
        Case("--from {in}/packages --size 16 --out made", FULL, "cannot write"),
        Case("--from {in}/packages --size 16 --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data make scenes": Row(
        "--count 1 --size 16 --out made",
        NO_MODEL,
        Case("--font absent.ttf --out made", 3, "no emoji font at absent.ttf"),
        Case("--count 0 --out made", 2, "count 0 is out of range"),
        Case("--count 2 --size 16 --out made", FULL, "cannot write"),
        Case("--count 1 --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data check": Row(
        "{in}/photos",
        NO_MODEL,
        Case("absent", 3, "'absent' is not there"),
        NO_NUMBER,
        Case("{in}/photos --out checked", FULL, "cannot write"),
        Case("{in}/photos --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data clean": Row(
        "{in}/photos --out cleaned",
        NO_MODEL,
        Case("absent --out cleaned", 3, "'absent' is not there"),
        Case("{in}/photos --out cleaned --least-side -1", 2, "least_side is -1"),
        Case("{in}/photos --out cleaned", FULL, "cannot write"),
        Case("{in}/photos --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data encode": Row(
        "{in}/photos --codec {in}/dalle --out codes",
        Case("{in}/photos --codec nosuch --out codes", 2, UNKNOWN),
        Case("absent --codec {in}/dalle --out codes", 3, "'absent' is not there"),
        Case("{in}/photos --codec {in}/dalle --out codes --crops 0", 2, "crops is 0"),
        Case("{in}/photos --codec {in}/dalle --out codes", FULL, "cannot write"),
        Case("{in}/photos --codec {in}/dalle --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "train": Row(
        "{in}/run.toml -q",
        Case(
            '{in}/run.toml --set start_from="nosuch"', 4, "there is no codec or model at 'nosuch'"
        ),
        Case("absent.toml", 2, "no config file at"),
        Case("{in}/run.toml --set loop.steps=0", 2, "steps is 0"),
        Case("{in}/run.toml", FULL, "cannot write"),
        Case('{in}/run.toml --set out="/proc/nowhere"', 5, "/proc/nowhere"),
    ),
    "adapt": Row(
        "default --on {in}/photos --out a.safetensors --steps 1 -q",
        Case("nosuch --on {in}/photos --out a.safetensors", 2, UNKNOWN),
        Case("default --on absent --out a.safetensors", 3, "'absent' is not there"),
        Case("default --on {in}/photos --out a.safetensors --rank 0", 2, "rank is 0"),
        Case("default --on {in}/photos --out a.safetensors --steps 1", FULL, "cannot write"),
        Case("default --on {in}/photos --out /proc/nowhere.safetensors", 5, "/proc/nowhere"),
    ),
    "eval": Row(
        "default --on {in}/p.txt --count 10 --json",
        Case("nosuch --on {in}/p.txt --count 10", 2, UNKNOWN),
        Case("default --on absent.txt", 2, "--on 'absent.txt'"),
        Case("default --on {in}/p.txt --count 1", 2, "count 1 is out of range"),
        Case("default --on {in}/p.txt --count 10", FULL, "cannot write"),
        Case("default --on {in}/p.txt --html /proc/nowhere", 5, PROC),
    ),
    "compare": Row(
        "default default --on {in}/p.txt --count 10 --json",
        Case("default nosuch --on {in}/p.txt --count 10", 2, UNKNOWN),
        Case("default default --on absent.txt", 2, "--on 'absent.txt'"),
        Case("default default --on {in}/p.txt --count 1", 2, "count 1 is out of range"),
        Case("default default --on {in}/p.txt --count 10", FULL, "cannot write"),
        Case("default default --on {in}/p.txt --html /proc/nowhere", 5, PROC),
    ),
    "arena": Row(
        "default default --prompts {in}/p.txt",
        Case("default nosuch --prompts {in}/p.txt", 2, UNKNOWN),
        Case("default default --prompts absent.txt", 3, "cannot read the prompts 'absent.txt'"),
        Case("default default --prompts {in}/p.txt --seed -1", 2, "seed -1 is out of range"),
        Case("default default --prompts {in}/p.txt", FULL, "cannot"),
        Case("default default --prompts {in}/p.txt --folder /proc/nowhere", 5, PROC),
    ),
    "rank": Row(
        "{in}/photo.png --prompt x -q",
        Case("{in}/photo.png --prompt x --model nosuch", 2, UNKNOWN),
        Case("absent.png --prompt x", 3, "cannot read the picture 'absent.png'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem --prompt x", 3, "cannot read the picture '/proc/self/mem'"),
    ),
    "clip classify": Row(
        "{in}/photo.png --labels a,b -q",
        Case("{in}/photo.png --labels a,b --model nosuch", 2, UNKNOWN),
        Case("absent.png --labels a,b", 3, "cannot read the picture 'absent.png'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem --labels a,b", 3, "cannot read the picture '/proc/self/mem'"),
    ),
    "audit memorisation": Row(
        "{in}/photos --train {in}/photos --json",
        Case("nosuch --train {in}/photos", 2, UNKNOWN),
        Case("default --train absent", 3, "'absent' is not there"),
        Case("default --train {in}/photos --prompts 0", 2, "--captions 0 is out of range"),
        Case("{in}/photos --train {in}/photos", FULL, "cannot write"),
        Case("{in}/photos --train {in}/photos --html /proc/nowhere", 5, PROC),
    ),
    "audit bias": Row(
        "default --labels a,b --prompts {in}/one.txt --count 10 --json",
        Case("nosuch --labels a,b", 2, UNKNOWN),
        Case("absent.csv --labels a,b", 3, "absent.csv"),
        Case("default --labels a,b --count 1", 2, "--count 1 is out of range"),
        Case("default --labels a,b --prompts {in}/one.txt --count 10", FULL, "cannot write"),
        Case("default --labels a,b --html /proc/nowhere", 5, PROC),
    ),
    "doctor": Row(
        "--json",
        Case("--model nosuch", 2, UNKNOWN),
        NO_FILE,
        NO_NUMBER,
        NO_WRITING,
        Case("--model /proc/self/mem", 4, "/proc/self/mem"),
    ),
}
ROWS["audit memorization"] = ROWS["audit memorisation"]


def commands(group: Any = None, before: str = "") -> Iterator[str]:
    """Yield the names of all commands, as they are typed."""
    whole: Any = group or typer.main.get_command(cli.app)
    for name, each in whole.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_every_command_has_its_row() -> None:
    assert sorted(commands()) == sorted(ROWS)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models, pictures, prompts and a config."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, save in (("dalle", save_tiny_model), ("clip", save_tiny_clip)):
        save(folder / name)
    save_tiny_unclip(folder / "unclip")
    write_image_folder(folder / "photos", 6)
    write_stamps(folder / "packages")
    write_clipart(folder / "packages")
    (picture, *_) = sorted((folder / "photos").rglob("*.png"))
    (folder / "photo.png").write_bytes(picture.read_bytes())
    (folder / "p.txt").write_text("\n".join(f"{each} apples" for each in range(10)))
    (folder / "one.txt").write_text("a red apple\n")
    photos = f'[data]\nsource = "{folder / "photos"}"\nworkers = 0\n'
    (folder / "run.toml").write_text(
        CONFIG.replace("[data]\n", photos).replace("captions = 2\n", "")
    )
    from limner import draw

    draw("a red apple", model=folder / "dalle", seed=7)[0].save(folder / "drawn.png")
    return folder


@pytest.fixture
def place(inputs: Path, emoji_font: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder, with tiny models in place of the embedded ones; nobody votes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    for name, folder in (("default", "dalle"), ("clip", "clip"), ("unclip", "unclip")):
        monkeypatch.setitem(registry.PRESETS, name, inputs / folder)
    monkeypatch.setattr(ArenaServer, "serve_forever", lambda server: None)
    return tmp_path


def ran(command: str, words: str, inputs: Path) -> int:
    given = [each.replace("{in}", str(inputs)) for each in words.split()]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split(), *given])
    return int(ended.value.code or 0)


def is_clean(place: Path) -> bool:
    """Say whether nothing is left of files that were being written."""
    names = [each.name for each in place.rglob("*")]
    return not [each for each in names if each.startswith(".limner-") or each.endswith(".tmp")]


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(command, case, id=command)
        for command, row in ROWS.items()
        if isinstance(case := getattr(row, kind), Case)
    ]


def check(told: str, case: Case) -> None:
    """See that the last line is one sentence, and that no line tells where Python stood."""
    *_, last = told.splitlines()
    assert last.startswith("limner: ") and case.told in last, told
    assert "Traceback" not in told and "internal error" not in told


@pytest.mark.parametrize(
    ("command", "case"),
    [*cases("model"), *cases("missing"), *cases("number"), *cases("refused")],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    command: str, case: Case, inputs: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = ran(command, case.words, inputs)
    out, told = capsys.readouterr()
    assert (code, out) == (case.code, ""), told
    check(told, case)
    assert told.count("\n") == 1
    assert list(place.iterdir()) == []


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow, as on a disk without room; what is there can be read."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("command", "case"), cases("full"))
def test_a_full_disk_is_told_and_nothing_half_written(
    command: str, case: Case, inputs: Path, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if command == "data encode":  # a worker's shared memory would meet the limit first
        encoding = encode.encode
        monkeypatch.setattr(
            encode, "encode", lambda *given, workers, ray: encoding(*given, workers=0, ray=ray)
        )
    with full_disk():
        code = ran(command, case.words, inputs)
    out, told = capsys.readouterr()
    assert (code, out) == (case.code, ""), told
    check(told, case)
    assert [each for each in place.rglob("*") if each.is_file()] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ROWS)
def test_an_answer_that_nobody_can_take_is_told(
    command: str, inputs: Path, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with open("/dev/full", "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = ran(command, ROWS[command].answers, inputs)
        monkeypatch.undo()
    told = capsys.readouterr().err
    assert code == FULL, told
    check(told, Case("", FULL, ANSWER))
    assert is_clean(place)


@pytest.mark.parametrize("command", ROWS)
def test_a_closed_pipe_ends_quietly(
    command: str, inputs: Path, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = ran(command, ROWS[command].answers, inputs)
        monkeypatch.undo()
    told = capsys.readouterr().err
    assert code == CLOSED, told
    assert "limner:" not in told and "Traceback" not in told
    assert is_clean(place)


def test_each_reason_says_why() -> None:
    for row in ROWS.values():
        for kind in fields(Row):
            found = getattr(row, kind.name)
            assert isinstance(found, Case) or kind.name == "answers" or len(found) > 10
