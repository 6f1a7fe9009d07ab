"""`limner colourise` with models too small to see, and `limner.colourise`."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import limner
from limner.cli import main
from limner.images import read_png_texts
from tests.tiny_model import save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run limner in a folder with models and a picture."""
    monkeypatch.chdir(tmp_path)
    save_tiny_unclip(tmp_path / "model")
    save_tiny_model(tmp_path / "dalle")
    Image.effect_noise((20, 18), 50).save("grey.png")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def test_a_picture_gets_colours_and_the_same_again(run: Run) -> None:
    words = ("grey.png", "a red apple", "-n", "2", "--seed", "7", "--model", "model")
    code, out, err = run("colourise", *words)
    names = ["grey-a-red-apple-coloured-7.png", "grey-a-red-apple-coloured-8.png"]
    assert code == 0 and out.splitlines()[:2] == names
    first, second = (Image.open(name) for name in names)
    assert first.size == (20, 18) and first.tobytes() != second.tobytes()
    told = re.search("the same again: limner (.*)", err)
    assert told is not None
    code, out, _ = run(*shlex.split(told[1]), "--json")
    again = json.loads(out)
    assert code == 0 and Image.open(again["pictures"][0]["path"]).tobytes() == first.tobytes()
    settings = json.loads(read_png_texts(names[0])["limner"])
    assert settings["task"] == "colourise" and len(settings["image_sha256"]) == 64
    for command in ("again", "explain"):
        code, _, err = run(command, names[0])
        assert code == 2 and "another picture" in err


def test_the_library_colours_as_the_command_does(run: Run) -> None:
    assert run("colourise", "grey.png", "--seed", "7", "--model", "model", "--out", "c.png")[0] == 0
    with Image.open("grey.png") as grey:
        (drawn,) = limner.colourise(grey, model="model", seed=7)
        (same,) = limner.load("model").colourise(grey.convert("RGB"), seed=7)
    assert drawn.image == same.image
    assert drawn.image.tobytes() == Image.open("c.png").tobytes()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("absent.png",), 3, "cannot read the picture"),
        (("dot.png", "--model", "model"), 2, "the picture is 1 x 1 pixels; give one of at least"),
        (("grey.png", "--model", "dalle"), 2, "'dalle' gives no colour to a picture"),
        (("grey.png", "--model", "model", "--steps", "0"), 2, "steps is 0"),
        (("grey.png", " ", "--model", "model"), 2, "the prompt is empty"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    Image.new("RGB", (1, 1)).save("dot.png")
    got, out, err = run("colourise", *words)
    assert (got, out) == (code, "") and told in err and "Traceback" not in err
