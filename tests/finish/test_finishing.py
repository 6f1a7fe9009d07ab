"""The steps after drawing: their order, what settings say, and reading them back."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import limner
from limner.errors import UsageError
from limner.finish.finishing import finish_picture, told
from limner.options import Finish, read_finish
from limner.types import Picture
from tests.tiny_model import SIZE, save_tiny_model


def picture(background: str = "white") -> Picture:
    image = Image.new("RGB", (32, 32), background)
    ImageDraw.Draw(image).rectangle((10, 10, 21, 21), fill=(200, 30, 30))
    return Picture(image, "a red box", 7, "tiny", {"a": 1})


def test_nothing_is_done_by_default() -> None:
    given = picture()
    assert finish_picture(given, Finish()) is given


def test_steps_follow_one_another() -> None:
    finish = Finish(upscale=2, cut_out=True, palette=("#ff0000", "#00ff00"))
    done = finish_picture(picture(), finish)
    assert done.image.mode == "RGBA" and done.image.size == (64, 64)
    assert done.image.getpixel((32, 32)) == (255, 0, 0, 255)
    assert done.image.getchannel("A").getpixel((2, 2)) == 0
    assert done.settings["finish"] == told(finish)
    assert read_finish(done.settings) == finish and read_finish({"finish": 3}) == Finish()
    assert finish_picture(picture(), Finish(sticker=True)).image.size == (38, 38)


def test_what_cannot_be_cut_out_stays_and_a_note_says_so() -> None:
    striped = picture()
    for x in range(0, 32, 4):
        ImageDraw.Draw(striped.image).rectangle((x, 0, x + 1, 31), fill="blue")
    done = finish_picture(striped, Finish(sticker=True))
    assert done.image.tobytes() == striped.image.tobytes()
    assert [note.code for note in done.notes] == ["not_cut_out"]
    assert "no plain background was found" in str(done.notes[0])


def test_draw_finishes_what_it_keeps(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "tiny")
    (done,) = limner.draw("a red apple", model=tmp_path / "tiny", seed=5, palette="#000,#fff")
    colours = {each for _, each in done.image.getcolors() or []}
    assert colours and colours <= {(0, 0, 0), (255, 255, 255)}
    (large,) = limner.draw("a red apple", model=tmp_path / "tiny", seed=5, upscale=4)
    assert large.image.size == (4 * SIZE, 4 * SIZE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"upscale": 3}, "upscale is 3; expected 2 or 4"),
        ({"upscale": True}, "upscale is True"),
        ({"upscale_weights": "x"}, "upscale_weights are given, but nothing is enlarged"),
    ],
)
def test_mistakes_are_told(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Finish(**values)  # type: ignore[arg-type]
