"""A cut-out or drawing of any shape as a square picture, centred on a plain background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.errors import ImageError, quote

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_SIDE = 16  # pixels of the longer side; what is smaller shows nothing
MARGIN = 16  # a cut-out keeps this part of the square free on each side
CLEAR = 8  # of 255: alpha below it is not seen


def to_square(image: Image, size: int, background: str, name: str) -> Image:
    """Return an RGBA picture as RGB, `size` pixels square, its empty border cut off.

    A picture that is transparent somewhere is cut to what is seen and gets a margin; one that is
    opaque keeps its border and fills the square from side to side. Raises ImageError for a picture
    in which nothing is seen, and for one of fewer than 16 pixels.
    """
    from PIL import Image

    alpha = image.getchannel("A")
    box = alpha.point(lambda value: 255 * (value >= CLEAR)).getbbox()
    if box is None:
        raise ImageError(
            f"nothing is seen in {quote(name)}; give a picture that is not empty",
            code="image_too_small",
        )
    framed = alpha.histogram()[0] > 0
    image = image.crop(box)
    if max(image.size) < LEAST_SIDE:
        raise ImageError(
            f"{quote(name)} is {image.width} x {image.height} pixels; at least {LEAST_SIDE} on its "
            "longer side are needed",
            code="image_too_small",
        )
    room = size - 2 * (size // MARGIN) if framed else size
    scale = room / max(image.size)
    across, down = (max(1, round(side * scale)) for side in image.size)
    plain = Image.new("RGBA", image.size, background)
    drawn = Image.alpha_composite(plain, image).convert("RGB")
    drawn = drawn.resize((across, down), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size), background)
    square.paste(drawn, ((size - across) // 2, (size - down) // 2))
    return square
