"""An opened picture file as upright 8-bit RGB on white; a large one at a part of its size.

It judges nothing: `limner.images` refuses first what is no picture, or too large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

PIXELS_LIMIT = 16_777_216  # above it a picture is read at a half, a quarter or an eighth
_STRIP = 256  # rows of a reduced picture that are made at once
_ORIENTATION = 0x0112  # the tag of EXIF that says how a camera was held
_FULL_SIZE = "full_size"


def decode(opened: ImageFile) -> Image:
    """Return an opened picture upright in RGB, a large one at a half, a quarter or an eighth."""
    from PIL import ImageOps

    width, height = opened.size
    factor = next(each for each in (1, 2, 4, 8) if width * height <= PIXELS_LIMIT * each**2)
    if factor > 1:  # JPEG alone can be decoded at a part of its size; others do nothing here
        opened.draft(opened.mode, (width // factor, height // factor))
    _scale_transparency(opened)
    opened.load()
    # Read before the picture is reduced, which loses it.
    turned = opened.getexif().get(_ORIENTATION)
    image: Image = opened
    if factor > 1 and opened.size == (width, height):
        image = _reduce(opened, factor)
        image.getexif()[_ORIENTATION] = turned
    image = to_rgb(ImageOps.exif_transpose(image))
    if factor > 1:
        image.info[_FULL_SIZE] = (height, width) if turned in (5, 6, 7, 8) else (width, height)
    return image


def full_size(image: Image) -> tuple[int, int]:
    """Return width and height of a picture as its file has it, where it was read at a part of it.

    It knows pictures that come straight from `open_image` or `decode_image` only.
    """
    found: tuple[int, int] = image.info.get(_FULL_SIZE, image.size)
    return found


def _reduce(image: Image, factor: int) -> Image:
    """Return a picture in RGB, its sides divided by `factor`; little more is held meanwhile."""
    from PIL import Image

    width, height = image.size
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top in range(0, small.height, _STRIP):
        box = (0, top * factor, width, min((top + _STRIP) * factor, height))
        small.paste(to_rgb(image.crop(box)).reduce(factor), (0, top))
    return small


def _scale_transparency(opened: ImageFile) -> None:
    """Bring the transparent colour of a PNG to the bits that Pillow gives its pixels.

    The file tells it in its own bits. Of 16-bit colours Pillow keeps the upper half alone, so that
    neighbours of the transparent one go too.
    """
    clear = opened.info.get("transparency")
    bits = opened.tile[0].args if opened.format == "PNG" and opened.tile else ""
    if isinstance(clear, int) and bits in ("L;2", "L;4"):
        opened.info["transparency"] = clear * (85 if bits == "L;2" else 17)
    elif isinstance(clear, tuple) and bits == "RGB;16B":
        opened.info["transparency"] = tuple(each >> 8 for each in clear)


def to_rgb(image: Image) -> Image:
    """Return a picture of any mode as 8-bit RGB, alpha over white."""
    import numpy
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits: 65535 is white, so scale where PIL would clip
        # Divided by 257, not cut: 65535 / 257 is 255 exactly.
        values = numpy.asarray(image)
        grey = (values.astype(numpy.float64) / 257).round().clip(0, 255).astype(numpy.uint8)
        grey[values == image.info.get("transparency", -1)] = 255
        image = Image.fromarray(grey)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(white, coloured).convert("RGB")
    return image.convert("RGB")
