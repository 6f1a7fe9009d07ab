"""`limner vary` with models too small to see."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import limner
from limner import registry
from limner.cli import main
from limner.errors import UsageError
from limner.images import read_png_texts
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import SIZE, save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `limner vary` in a folder with models and a picture; return code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    save_tiny_unclip(tmp_path / "model")
    save_tiny_model(tmp_path / "dalle")
    save_tiny_gan(tmp_path / "gan")
    Image.new("RGB", (20, 16), "red").save("plain red.png")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["vary", *words])
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def test_a_picture_is_varied_and_the_same_again(run: Run, tmp_path: Path) -> None:
    code, out, err = run("plain red.png", "-n", "2", "--seed", "7", "--model", "model")
    assert code == 0
    names = ["plain-red-varied-7.png", "plain-red-varied-8.png", "plain-red-varied-7-grid.png"]
    assert out.splitlines() == names
    first, second = (Image.open(name) for name in names[:2])
    assert first.size == (SIZE, SIZE) and first.tobytes() != second.tobytes()
    told = re.search("the same again: limner vary (.*)", err)
    assert told is not None
    code, out, _ = run(*shlex.split(told[1]), "--json")
    assert code == 0
    again = json.loads(out)
    assert again["seed"] == 7 and again["prompt"] == ""
    assert Image.open(again["pictures"][0]["path"]).tobytes() == first.tobytes()
    settings = json.loads(read_png_texts(names[0])["limner"])
    assert len(settings["image_sha256"]) == 64


def test_the_embedded_model_varies_unless_another_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.PRESETS, "unclip", tmp_path / "model")
    code, _, err = run("plain red.png", "--seed", "7", "--out", "one.png")
    assert code == 0 and "--model" not in err
    assert run("plain red.png", "--seed", "7", "--model", "model", "--out", "two.png")[0] == 0
    assert Image.open("one.png").tobytes() == Image.open("two.png").tobytes()
    assert (
        limner.vary(Image.open("plain red.png"), seed=7)[0].image.tobytes()
        == Image.open("one.png").tobytes()
    )


def test_words_change_what_is_drawn(run: Run) -> None:
    words = ("plain red.png", "--seed", "3", "--model", "model", "-q", "--out")
    assert run(*words, "alone.png")[0] == 0
    assert run("plain red.png", "a red apple", *words[1:], "told.png")[0] == 0
    assert Image.open("alone.png").tobytes() != Image.open("told.png").tobytes()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("missing.png", "--model", "model"), 3, "cannot read the picture"),
        (("dot.png", "--model", "model"), 2, "the picture is 1 x 1 pixels; give one of at least"),
        (("plain red.png", "--model", "dalle"), 2, "give a mask or a strength too"),
        (("plain red.png", "--model", "gan"), 2, "image is given, but a GAN draws whole pictures"),
        (("plain red.png", "--model", "model", "--steps", "0"), 2, "steps is 0"),
        (("plain red.png", "--model", "model", "--sampler", "ddmp"), 2, "did you mean"),
        (("plain red.png", " ", "--model", "model"), 2, "the prompt is empty"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    Image.new("RGB", (1, 1)).save("dot.png")
    got, out, err = run(*words)
    assert (got, out) == (code, "") and told in err and "Traceback" not in err


def test_the_library_varies(run: Run) -> None:
    picture = Image.open("plain red.png")
    (drawn,) = limner.vary(picture, model="model", seed=5, steps=2)
    again, told = (
        limner.vary(picture, words, model="model", seed=5, steps=2)[0]
        for words in ("", "a red apple")
    )
    assert drawn.image == again.image != told.image
    with pytest.raises(UsageError, match="the prompt is empty"):
        limner.draw("", model="model")
