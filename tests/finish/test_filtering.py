"""Whole pictures in a style by filters, which know nothing of what they show."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from limner.errors import UsageError
from limner.finish.filtering import filtered


def disc(size: tuple[int, int] = (120, 96), ground: str = "#88bbee") -> Image.Image:
    """Return a red disc on a plain ground."""
    picture = Image.new("RGB", size, ground)
    ImageDraw.Draw(picture).ellipse((40, 28, 80, 68), fill="#cc2222")
    return picture


def noise() -> Image.Image:
    """Return a picture without any plain ground."""
    shades = np.random.default_rng(1).integers(0, 256, (80, 96), dtype=np.uint8)
    return Image.fromarray(shades).convert("RGB")


@pytest.mark.parametrize("style", ["line art", "pixel art", "sticker", "silhouette"])
def test_a_picture_keeps_its_size_and_gets_a_style(style: str) -> None:
    found = filtered(disc(), style)
    assert (found.size, found.mode) == ((120, 96), "RGB")
    assert found.tobytes() != disc().tobytes()


def test_line_art_is_ink_on_white_where_the_picture_changes() -> None:
    found = filtered(disc(), "line art")
    assert found.getpixel((60, 48)) == found.getpixel((5, 5)) == (255, 255, 255)
    rim = np.asarray(found)[48, 36:46]
    assert rim.min() < 100 and (rim == rim[:, :1]).all(), "dark, and no colours"


def test_pixel_art_has_few_colours_in_large_pixels() -> None:
    found = filtered(noise().resize((640, 512)), "pixel art")
    pixels = np.asarray(found)
    assert len(found.getcolors() or []) <= 32
    assert (pixels[:8, :8] == pixels[0, 0]).all()


def test_a_sticker_and_a_silhouette_leave_their_ground_as_it_is() -> None:
    sticker, dark = (np.asarray(filtered(disc(), each)) for each in ("sticker", "silhouette"))
    given = np.asarray(disc())
    assert (sticker[48, 60] == given[48, 60]).all() and (sticker[48, 37] == 255).all()
    assert (dark[48, 60] == (26, 26, 36)).all()
    for found in (sticker, dark):
        assert (found[:20] == given[:20]).all() and (found[:, :30] == given[:, :30]).all()


@pytest.mark.parametrize("style", ["sticker", "silhouette"])
def test_a_picture_without_a_subject_is_refused(style: str) -> None:
    half = disc()
    half.paste(noise().resize((120, 48)), (0, 48))  # a subject, it would be, with half the edge
    for picture in (noise(), Image.new("RGB", (64, 64), "white"), half):
        with pytest.raises(UsageError, match=f"plain background to make a {style} of"):
            filtered(picture, style)


def test_no_filter_makes_a_picture_plain() -> None:
    with pytest.raises(UsageError, match="no filter makes it plain; give a picture that shows"):
        filtered(disc(), "plain")


def test_the_smallest_pictures_are_filtered() -> None:
    for style in ("line art", "pixel art"):
        assert filtered(Image.new("RGB", (16, 16), "red"), style).size == (16, 16)
