"""`limner explain` with models too small to see."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limner import registry
from limner.cli import main
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import save_tiny_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run limner in a folder with tiny models in place of the embedded ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry.PRESETS, "default", save_tiny_model(tmp_path / "m" / "dalle"))
    monkeypatch.setitem(registry.PRESETS, "gan", save_tiny_gan(tmp_path / "m" / "gan"))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def test_a_prompt_is_explained_and_the_same_again(run: Run) -> None:
    code, out, err = run("explain", "three red apples", "--seed", "7", "--guidance", "1")
    path, head, *rows = out.splitlines()
    assert code == 0 and path == "three-red-apples-7-explained.png"
    assert head.split()[:2] == ["word", "nats"]
    assert [row.split()[:2] for row in rows] == [["1", "three"], ["2", "red"], ["3", "apples"]]
    with Image.open(path) as sheet:
        before = sheet.tobytes()
    told = re.search("the same again: limner (.*)", err)
    assert told is not None
    code, out, _ = run(*shlex.split(told[1]), "--out", "again.png")
    assert code == 0
    with Image.open("again.png") as sheet:
        assert sheet.tobytes() == before


def test_a_picture_is_explained_from_its_own_words(run: Run) -> None:
    drawing = ("a red apple", "--seed", "7", "--temperature", "0.5")
    assert run("draw", *drawing, "--out", "a.png")[0] == 0
    code, out, err = run("explain", "a.png", "--json", "--out", "sheet.png")
    assert code == 0, err
    told = json.loads(out)
    assert code == 0 and told["prompt"] == "a red apple" and told["seed"] == 7
    assert told["notes"] == [] and told["path"] == "sheet.png" and told["way"] == "likelihood"
    direct = json.loads(run("explain", *drawing, "--json", "--out", "other.png")[1])
    assert direct["words"] == told["words"] and direct["surprise"] == told["surprise"]
    code, out, err = run("explain", "a.png", "--model", "gan", "-q", "--out", "gan.png")
    assert code == 0 and err == "" and "mean absolute difference" in out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("a.png",), 3, "cannot read the picture 'a.png'"),
        (("drawn.png", "--seed", "3"), 2, "seed is 3, but the picture itself says how"),
        (("drawn.png", "--top-k", "3"), 2, "top_k is 3, but the picture itself says how"),
        (("drawn.png", "--verbatim"), 2, "verbatim is True, but the picture itself says"),
        (("plain.png",), 3, "says nothing of how it was drawn"),
        (("plain.gif",), 3, "give PNG, JPEG or WebP"),
        ((" ",), 2, "the prompt is empty"),
        (("a cat", "--guidance", "-1"), 2, "guidance is -1"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    run("draw", "a red apple", "--seed", "7", "--out", "drawn.png", "-q")
    for name in ("plain.png", "plain.gif"):
        Image.new("RGB", (8, 8)).save(name)
    got, out, err = run("explain", *words)
    assert (got, out) == (code, "") and told in err and "Traceback" not in err
