"""`limner morph` with models too small to draw."""

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
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import SIZE, save_tiny_model

Run = Callable[..., tuple[int, str, str]]
ENDS = ("a red apple", "the night sky")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `limner morph` in a folder with models and a picture; return code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path / "model")
    save_tiny_gan(tmp_path / "gan")
    monkeypatch.setitem(registry.PRESETS, "default", tmp_path / "model")
    Image.new("RGB", (20, 16), "red").save("plain red.png")
    Image.new("RGB", (20, 16), "red").save("moving.gif")
    Image.new("RGB", (1, 1), "red").save("dot.png")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["morph", *words])
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def test_a_morph_is_written_and_the_same_again(run: Run) -> None:
    code, out, err = run(*ENDS, "--seed", "5", "--frames", "5")
    assert (code, out) == (0, "a-red-apple-to-the-night-sky-5.gif\n")
    with Image.open(out.strip()) as opened:
        assert opened.size == (SIZE, SIZE) and getattr(opened, "n_frames", 1) > 1
    told = re.search("the same again: limner morph (.*)", err)
    assert told is not None
    code, again, _ = run(*shlex.split(told[1]))
    assert code == 0 and again == "a-red-apple-to-the-night-sky-5-2.gif\n"
    assert Path(again.strip()).read_bytes() == Path(out.strip()).read_bytes()


def test_json_tells_how_steady_it_is(run: Run) -> None:
    code, out, _ = run(*ENDS, "--frames", "4", "--seed", "1", "--out", "way.webp", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["path"] == "way.webp" and answer["frames"] == 4
    assert answer["change"]["greatest"] >= answer["change"]["median"] >= 0


def test_a_picture_is_an_end_and_the_way_goes_back(run: Run) -> None:
    code, out, _ = run("plain red.png", "a red apple", "--frames", "4", "--out", "a.png", "--back")
    assert (code, out) == (0, "a.png\n")
    drawn = limner.morph(
        Path("plain red.png"), "a red apple", frames=4, seed=3, model="model", temperature=0.5
    )
    drawn.save("b.png", back=True)
    with Image.open("b.png") as opened:
        assert getattr(opened, "n_frames", 1) <= 6
    assert len(drawn.frames) == 4 and len(drawn.changes) == 3
    assert "4 frames of 16 x 16 pixels, seed 3, model 'tiny'" in repr(drawn)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("missing.png", "a cat"), 3, "cannot read the picture"),
        (("dot.png", "a cat"), 2, "the picture is 1 x 1 pixels; give one of at least 16 a side"),
        (("moving.gif", "a cat"), 3, "give PNG, JPEG or WebP"),
        (("plain red.png", "a cat", "--model", "gan"), 2, "a GAN draws from words"),
        (("a cat", "a dog", "--frames", "1"), 2, "frames is 1"),
        (("a cat", "a dog", "--fps", "0"), 2, "fps is 0"),
        (("a cat", "a dog", "--out", "x.jpg"), 2, "animations are GIF, PNG, WebP or MP4"),
        (("a cat", " "), 2, "the prompt is empty"),
        (("a cat", "a dog", "--temperature", "0"), 2, "temperature is 0"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    got, out, err = run(*words)
    assert (got, out) == (code, "") and told in err and "Traceback" not in err


def test_a_str_is_a_prompt_in_python(run: Run) -> None:
    with pytest.raises(UsageError, match="frames is 'two'"):
        limner.morph("plain red.png", "a cat", frames="two", model="model")  # type: ignore[arg-type]
    morph = limner.morph("plain red.png", "a cat", frames=2, model="model", seed=1)
    assert morph.first.startswith("plain red")
