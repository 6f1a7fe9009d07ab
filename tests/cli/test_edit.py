"""`limner edit` and `limner outpaint` with models too small to see."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image

import limner
from limner import registry
from limner.cli import main
from limner.images import read_png_texts
from tests.tiny_clip import save_tiny_clip
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

Run = Callable[..., tuple[int, str, str]]
PHOTO = "a photo.png"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run limner in a folder with models and a picture; return code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry.PRESETS, "default", save_tiny_model(tmp_path / "dalle"))
    monkeypatch.setitem(registry.PRESETS, "clip", save_tiny_clip(tmp_path / "clip"))
    save_tiny_unclip(tmp_path / "unclip")
    save_tiny_gan(tmp_path / "gan")
    pixels = numpy.random.default_rng(1).integers(0, 256, (32, 40, 3), dtype=numpy.uint8)
    Image.fromarray(pixels).save(PHOTO)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(words))
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def pixels_of(path: str) -> "numpy.typing.NDArray[numpy.uint8]":
    return numpy.asarray(Image.open(path).convert("RGB"))


def test_a_part_is_redrawn_and_the_same_again(run: Run) -> None:
    code, out, err = run(
        "edit", PHOTO, "a red apple", "--mask", "8,8,16,20", "-n", "2", "--seed", "7"
    )
    assert code == 0
    stem = "a-photo-a-red-apple-edited"
    assert out.splitlines() == [f"{stem}-7.png", f"{stem}-8.png", f"{stem}-7-grid.png"]
    before, after = pixels_of(PHOTO), pixels_of(f"{stem}-7.png")
    changed = (before != after).any(-1)
    assert changed[8:28, 8:24].any()
    changed[8:28, 8:24] = False
    assert before.shape == after.shape and not changed.any()
    told = re.search("the same again: limner (.*)", err)
    assert told is not None
    code, out, _ = run(*shlex.split(told[1]), "--json")
    assert code == 0
    answer = json.loads(out)
    assert (pixels_of(answer["pictures"][0]["path"]) == after).all()
    said = json.loads(read_png_texts(f"{stem}-7.png")["limner"])
    assert said["edit"].keys() == {"mask_sha256", "redrawn"} and len(said["image_sha256"]) == 64
    code, _, err = run("again", f"{stem}-7.png")
    assert code == 2 and "was made from another picture; give that one with --image" in err


def test_masks_are_files_boxes_and_words(run: Run) -> None:
    mask = Image.new("RGBA", (40, 32), (1, 2, 3, 255))
    mask.paste((0, 0, 0, 0), (8, 8, 24, 28))
    mask.save("mask.png")
    words = ("edit", PHOTO, "a red apple", "--seed", "3", "-q", "--out")
    assert run(*words, "box.png", "--mask", "8,8,16,20")[0] == 0
    assert run(*words, "file.png", "--mask", "mask.png")[0] == 0
    assert (pixels_of("box.png") == pixels_of("file.png")).all()
    assert run(*words, "word.png", "--mask", "object:apple")[0] == 0
    assert (pixels_of("word.png") != pixels_of(PHOTO)).any()


def test_two_texts_a_strength_and_more_tries(run: Run) -> None:
    words = ("edit", PHOTO, "a red apple", "--seed", "3", "-q", "--out")
    assert run(*words, "a.png", "--from", "three red apples")[0] == 0
    assert run(*words, "b.png", "--strength", "1")[0] == 0
    assert run(*words, "c.png", "--strength", "0")[0] == 0
    assert (pixels_of("c.png") == pixels_of(PHOTO)).all()
    code, out, _ = run(
        *words[:-2], "--strength", "1", "--best-of", "3", "--candidates", "2", "--json"
    )
    assert code == 0 and len(json.loads(out)["dropped"]) == 2
    said = json.loads(read_png_texts(json.loads(out)["pictures"][0]["path"])["limner"])
    assert said["edit"] == {"strength": 1.0, "candidates": 2}


def test_a_picture_grows_and_the_same_again(run: Run) -> None:
    code, out, err = run("outpaint", PHOTO, "--left", "10", "--bottom", "4", "--seed", "2")
    assert code == 0 and out == "a-photo-outpainted-2.png\n"
    found = pixels_of(out.strip())
    assert found.shape == (36, 50, 3) and (found[:32, 10:] == pixels_of(PHOTO)).all()
    told = re.search("the same again: limner (.*)", err)
    assert told is not None
    assert run(*shlex.split(told[1]), "--out", "b.png")[0] == 0
    assert (pixels_of("b.png") == found).all()


def test_a_picture_itself_is_varied(run: Run) -> None:
    words = ("vary", PHOTO, "--strength", "0.5", "--seed", "1", "--model")
    code, out, err = run(*words, "default")
    assert code == 0 and "--strength 0.5" in err
    assert pixels_of(out.strip()).shape == (32, 40, 3)
    assert run(*words, "unclip", "--steps", "2")[0] == 0


def test_a_mask_that_keeps_all_changes_nothing_and_says_so(run: Run) -> None:
    Image.new("L", (40, 32), 0).save("empty.png")
    Image.new("L", (40, 32), 255).save("full.png")
    words = ("edit", PHOTO, "a red apple", "--seed", "3", "--mask")
    code, out, err = run(*words, "empty.png")
    assert code == 0 and "note: nothing was redrawn" in err
    assert (pixels_of(out.strip()) == pixels_of(PHOTO)).all()
    code, _, err = run(*words, "full.png")
    assert code == 0 and "note: all was redrawn" in err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("edit", "missing.png", "x"), 3, "cannot read the picture 'missing.png'"),
        (("edit", PHOTO, "x", "--mask", "missing.png"), 3, "cannot read the picture 'missing.png'"),
        (("edit", PHOTO, "x", "--mask", "0,0,41,5"), 2, "inside of 40 x 32 pixels"),
        (("edit", PHOTO, "x", "--mask", "object:"), 2, "the prompt is empty"),
        (("edit", PHOTO, "x", "--strength", "2"), 2, "strength is 2.0"),
        (("edit", PHOTO, "x", "--mask", "0,0,9,9", "--model", "gan"), 2, "'dalle' or 'unclip'"),
        (("edit", PHOTO, "x", "--mask", "0,0,9,9", "--best-of", "0"), 2, "best_of is 0"),
        (("outpaint", PHOTO, "--left", "8", "--best-of", "2"), 2, "no prompt to choose by"),
        (("outpaint", PHOTO), 2, "nothing is to be drawn; give left, right, top or bottom"),
        (("outpaint", PHOTO, "--left", "9000"), 2, "left is 9000"),
        (("outpaint", PHOTO, "--left", "8180"), 2, "the picture would be 8220 x 32 pixels"),
        (("vary", PHOTO, "--strength", "-1"), 2, "strength is -1"),
    ],
)
def test_mistakes_are_told(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    got, out, err = run(*words)
    assert (got, out) == (code, "") and told in err and "Traceback" not in err


def test_the_library_edits(run: Run) -> None:
    model = limner.load("default")
    (one,) = limner.edit(PHOTO, "a red apple", "8,8,16,20", seed=7, candidates=2)
    (same,) = model.edit(Image.open(PHOTO), "a red apple", mask="8,8,16,20", seed=7, candidates=2)
    assert one.image == same.image and one.settings == same.settings
    (found,) = limner.edit(one, "a red apple", "object:apple", seed=7, best_of=2)
    assert found.settings["best_of"] == 2
    (wide,) = limner.outpaint(PHOTO, top=3, seed=1)
    (also,) = model.outpaint(PHOTO, top=3, seed=1)
    assert wide.image == also.image and wide.image.size == (40, 35)
    with pytest.raises(limner.LimnerError, match="no argument 'mask_image'"):
        limner.edit(PHOTO, "x", mask_image="m.png")  # type: ignore[call-arg]
