"""Palettes: colours as written, the nearest one, dither that keeps the mean."""

import numpy as np
import pytest
from PIL import Image

from limner.errors import UsageError
from limner.finish.palette import oklab, to_palette
from limner.options import Finish, parse_palette

GREY = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (64, 1, 3)))


def colours_of(image: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(each) for each in np.asarray(image).reshape(-1, len(image.getbands())).tolist()}


def test_a_palette_is_read() -> None:
    assert parse_palette("#112233, ABC,#112233") == ("#112233", "#aabbcc")
    assert parse_palette(["f00"]) == ("#ff0000",)
    assert Finish(palette="#000").palette == ("#000000",)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["", "#12", "red", ["#112233", 7], "#11223", ","])
def test_what_is_no_colour_is_told(given: str) -> None:
    with pytest.raises(UsageError, match="expected colours as #112233"):
        parse_palette(given)
    with pytest.raises(UsageError, match="palette has 257 colours"):
        parse_palette([f"#{number:06x}" for number in range(257)])
    with pytest.raises(UsageError, match="dither is given, but no palette"):
        Finish(dither=True)


def test_pixels_take_the_nearest_colour_and_keep_their_alpha() -> None:
    image = Image.new("RGBA", (2, 1), (250, 10, 10, 128))
    image.putpixel((1, 0), (20, 20, 240, 0))
    found = to_palette(image, ["#ff0000", "#0000ff", "#00ff00"])
    assert [found.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0, 128), (0, 0, 255, 0)]


@pytest.mark.parametrize("dither", [False, True])
def test_only_colours_of_the_palette_are_there(dither: bool) -> None:
    found = to_palette(GREY, ["#000000", "#ffffff"], dither=dither)
    assert colours_of(found) == {(0, 0, 0), (255, 255, 255)}


def test_dither_mixes_what_lies_between() -> None:
    plain, mixed = (to_palette(GREY, ["#000", "#fff"], dither=each) for each in (False, True))
    column = 40  # 160 of 255: nearer to white, and not white
    share = np.asarray(mixed)[:, column].mean() / 255
    assert np.asarray(plain)[:, column].min() == 255 and 0.4 < share < 0.9
    again = to_palette(GREY, ["#000", "#fff"], dither=True)
    assert again.tobytes() == mixed.tobytes()


def test_the_colour_space_is_that_of_the_paper() -> None:
    found = oklab(np.array([[255, 255, 255], [255, 0, 0]], dtype=np.uint8))
    wanted = np.array([[1.0, 0, 0], [0.628, 0.2249, 0.1258]])
    assert np.allclose(found, wanted, atol=2e-3)
