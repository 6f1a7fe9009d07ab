"""Cut-outs and drawings as squares."""

import numpy as np
import pytest
from PIL import Image

from limner.data.collections.make import to_square
from limner.errors import ImageError
from tests.data.collection_files import cut_out
from tests.data.source_files import picture


def seen(image: Image.Image) -> tuple[int, int, int, int]:
    """Return the first and last row and column that are not white."""
    rows, columns = np.nonzero((np.asarray(image) != 255).any(axis=2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_a_cut_out_is_cut_to_what_is_seen_and_gets_a_margin() -> None:
    image = to_square(cut_out(), 64, "white", "a")
    top, bottom, left, right = seen(image)
    assert image.size == (64, 64) and image.mode == "RGB"
    assert (left, right) == (4, 59)  # 40 pixels of 60 are seen, and they are 56 wide now
    assert abs(top - (63 - bottom)) <= 1 and 10 <= top <= 12  # 30 of 40 pixels: 42 high now


def test_an_opaque_picture_keeps_its_border_and_fills_the_square() -> None:
    flag = Image.new("RGBA", (40, 20), "white")
    flag.paste("red", (15, 5, 25, 15))
    image = np.asarray(to_square(flag, 64, "blue", "a"))
    assert image[32, 0].tolist() == [255, 255, 255]
    assert image[8, 32].tolist() == [0, 0, 255]
    assert image[32, 32].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(64, 64), (300, 16), (16, 300)])
def test_any_shape_becomes_a_square(size: tuple[int, int]) -> None:
    assert to_square(picture(0, *size).convert("RGBA"), 48, "white", "a").size == (48, 48)


def test_what_shows_nothing_is_refused() -> None:
    with pytest.raises(ImageError, match="nothing is seen in 'a'") as empty:
        to_square(Image.new("RGBA", (40, 40)), 64, "white", "a")
    with pytest.raises(ImageError, match="'a' is 12 x 5 pixels; at least 16") as small:
        to_square(picture(0, 12, 5).convert("RGBA"), 64, "white", "a")
    assert empty.value.code == small.value.code == "image_too_small"
