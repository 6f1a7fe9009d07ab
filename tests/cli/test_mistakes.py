"""What people and machines do wrong, for every command: one sentence, its exit code, no remains.

Each command has its row in tests/cli/mistakes.py.
"""

import os
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from safetensors.torch import save_file

from limner import cli, import_checkpoint, registry
from limner.data.batches import encode
from limner.server.arena import ArenaServer
from tests.cli.mistakes import FULL, ROWS, Case, Row
from tests.convert import vqgan
from tests.convert.dvae import write_dvae
from tests.data.collection_files import write_clipart, write_stamps
from tests.data.source_files import write_image_folder
from tests.json_answers import CONFIG
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model
from tests.tiny_things import save_tiny_things
from tests.tiny_unclip import save_tiny_unclip

CLOSED = 141
ANSWER = "cannot write the answer: No space left on device; send it to another place"
BYTES = 64  # the longest file that a full disk takes


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
    save_tiny_things(folder / "things")
    write_image_folder(folder / "photos", 6)
    write_stamps(folder / "packages")
    write_clipart(folder / "packages")
    (picture, *_) = sorted((folder / "photos").rglob("*.png"))
    (folder / "photo.png").write_bytes(picture.read_bytes())
    write_dvae(folder / "dall-e")
    import_checkpoint(folder / "dall-e", folder / "dvae")
    save_file(vqgan.random_state(), folder / "vqgan.safetensors")
    shutil.copytree(folder / "dvae", folder / "data" / "limner" / "models" / "openai-dvae")
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
def place(
    inputs: Path, emoji_font: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """Go to an empty folder, with tiny models in place of the embedded ones; nobody votes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    for name, folder in (("default", "dalle"), ("clip", "clip"), ("unclip", "unclip")):
        monkeypatch.setitem(registry.PRESETS, name, inputs / folder)
    monkeypatch.setattr(ArenaServer, "serve_forever", lambda server: None)
    data = tmp_path_factory.mktemp("data")
    shutil.copytree(inputs / "data", data, dirs_exist_ok=True)  # a public model is there
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
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
