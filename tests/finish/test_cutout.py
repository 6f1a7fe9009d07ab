"""Cutting out: the thing stays, the background goes, edges are soft; what has no background."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from limner.errors import UsageError
from limner.finish.cutout import cut_out, sticker

SIDE = 64
RED = (220, 40, 40)


def disc(background: Image.Image, hole: bool = False) -> tuple[Image.Image, np.ndarray]:
    """Return a picture of a smooth red disc on a background, and its true alpha."""
    large = Image.new("L", (SIDE * 4, SIDE * 4), 0)
    ImageDraw.Draw(large).ellipse((60, 60, 196, 196), fill=255)
    mask = large.resize((SIDE, SIDE), Image.Resampling.BOX)
    image = background.copy()
    image.paste(RED, mask=mask)
    return image, np.asarray(mask) / 255


def gradient(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Image.Image:
    rows = np.linspace(0, 1, SIDE)[:, None, None]
    pixels = np.array(top) * (1 - rows) + np.array(bottom) * rows
    return Image.fromarray(np.broadcast_to(pixels, (SIDE, SIDE, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    "background",
    [
        Image.new("RGB", (SIDE, SIDE), "white"),
        Image.new("RGB", (SIDE, SIDE), (128, 180, 240)),
        gradient((128, 180, 240), (252, 252, 252)),
    ],
)
def test_a_thing_is_cut_out_of_a_smooth_background(background: Image.Image) -> None:
    image, true = disc(background)
    cut = cut_out(image)
    assert cut.mode == "RGBA" and cut.size == image.size
    alpha = np.asarray(cut)[..., 3] / 255
    assert np.abs(alpha - true).mean() < 0.01
    assert 0 < alpha[(true > 0.3) & (true < 0.7)].mean() < 1, "edges are soft"
    colours = np.asarray(cut)[..., :3][alpha > 0.3].astype(int)
    assert np.abs(colours - RED).max() < 60, "the background is taken out of the edge"


def test_white_inside_a_thing_stays() -> None:
    image, _ = disc(Image.new("RGB", (SIDE, SIDE), "white"))
    ImageDraw.Draw(image).ellipse((26, 26, 38, 38), fill="white")
    assert np.asarray(cut_out(image))[32, 32, 3] == 255


@pytest.mark.parametrize("what", ["plain", "noise"])
def test_where_there_is_nothing_to_cut_it_is_told(what: str) -> None:
    image = Image.new("RGB", (32, 32), "white")
    if what == "noise":
        pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
    with pytest.raises(UsageError, match="background was found in the picture"):
        cut_out(image)


def test_a_sticker_has_a_white_border() -> None:
    image, _ = disc(Image.new("RGB", (SIDE, SIDE), (128, 180, 240)))
    made = sticker(image, border=4)
    assert made.size == (SIDE + 10, SIDE + 10)
    pixels = np.asarray(made)
    assert pixels[0, 0, 3] == 0
    row = pixels[pixels.shape[0] // 2].astype(int)
    first = int((row[:, 3] > 250).argmax())
    assert row[first + 1 : first + 3, :3].min() > 240, "white outside"
    assert np.abs(row[len(row) // 2, :3] - RED).max() < 5, "the thing inside"
    wide = sticker(cut_out(image))
    assert wide.size == (SIDE + 8, SIDE + 8)
