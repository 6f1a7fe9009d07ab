"""The mask of an edit: where it is clear, pixels are drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.errors import LimnerError
from limner.images import decode_cut_out
from limner.server.errors import ApiError, invalid

if TYPE_CHECKING:
    from PIL.Image import Image


def decode_mask(data: bytes, size: tuple[int, int]) -> Image:
    """Return the alpha (L) of a mask as large as the picture; 0 is where to draw.

    400 for another size, for no alpha, and for what is no picture.
    """
    try:
        mask = decode_cut_out(data, "mask")
    except LimnerError as error:
        code = error.code or "invalid_image"
        raise ApiError(400, "mask cannot be read; give a PNG", param="mask", code=code) from error
    if mask.size != size:
        turned = mask.size == size[::-1]
        hint = (
            "; the picture was turned upright by its EXIF, so turn the mask too" if turned else ""
        )
        raise invalid(
            f"mask is {mask.width}x{mask.height} pixels and the picture {size[0]}x{size[1]}; give "
            f"both in one size{hint}",
            "mask",
        )
    alpha = mask.getchannel("A")
    if alpha.getextrema() == (255, 255) and not _has_alpha(data):
        raise invalid(
            "mask has no alpha channel; give a PNG that is clear where the picture is to change",
            "mask",
        )
    return alpha


def _has_alpha(data: bytes) -> bool:
    import io

    from PIL import Image

    from limner.images import FORMATS

    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        return opened.mode in ("LA", "PA", "RGBA") or "transparency" in opened.info
