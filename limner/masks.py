"""Which part of a picture is to be redrawn: a mask as a person gives it, read once, here.

A mask is white, or transparent, where the picture is to be redrawn, and black, or opaque, where it
is kept; greys redraw a part of a pixel. No torch is imported to read this file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import UsageError, quote
from limner.images import as_image, open_with_alpha
from limner.options import Edit

if TYPE_CHECKING:
    from PIL.Image import Image

OBJECT = "object:"
_THINGS = "limner_things"
_BOX = re.compile(r"\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*")
_GREY = 8  # how far the channels of a grey pixel may lie apart, as JPEG blurs them
_COLOURED = 0.01  # of the pixels may be coloured all the same


def open_pictures(request: Any) -> None:
    """Open the image and the mask of a limner.Request; with a mask it is an edit.

    Raises ImageError for a bad file, UsageError as `mask_of`, and for what lacks its image.
    """
    for name in ("mask", "edit"):
        if request.image is None and getattr(request, name) is not None:
            raise UsageError(f"{name} is given without a picture; give its image too", param=name)
    # The request is frozen, and is being made.
    object.__setattr__(request, "image", as_image(request.image))
    if request.mask is not None:
        object.__setattr__(request, "mask", mask_of(request.mask, request.image))
        object.__setattr__(request, "edit", request.edit or Edit())
    if request.edit is not None and not isinstance(request.edit, Edit):
        raise UsageError(f"edit is {quote(request.edit)}; expected a limner.Edit", param="edit")


def mask_of(given: object, picture: Image) -> Image:
    """Return a mask for a picture as 8-bit grey of its size, 255 where all is redrawn.

    It is a box "x,y,w,h" in pixels, the path of a file, or an image of PIL. Of a transparent image
    the alpha counts, of any other how bright it is. Raises ImageError for a bad file, UsageError
    for a box outside the picture, another size, and an image in colours without transparency. It
    does not know "object:WORD", which takes a model.
    """
    from PIL import Image, ImageOps

    if isinstance(given, str) and (found := _BOX.fullmatch(given)):
        return box_mask([int(number) for number in found.groups()], picture.size)
    if isinstance(given, str) and ":" in given and not Path(given).exists():
        raise UsageError(
            f"the mask is {quote(given)}; expected a box x,y,w,h, the path of a picture, or "
            "object:WORD",
            param="mask",
        )
    if isinstance(given, str | os.PathLike):
        mask = open_with_alpha(Path(given))
    else:
        image = getattr(given, "image", given)  # of a limner.Picture too
        if not isinstance(image, Image.Image):
            raise UsageError(
                f"a mask is {quote(given)}; expected a box x,y,w,h, the path of a file, or an "
                "image of PIL",
                param="mask",
            )
        mask = ImageOps.exif_transpose(image)
    _check_size(mask.size, picture.size)
    return _shares(mask)


def box_mask(box: list[int], size: tuple[int, int]) -> Image:
    """Return the mask of a box (left, top, width, height); UsageError unless it lies inside."""
    from PIL import Image

    left, top, width, height = box
    inside = left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1]
    if width < 1 or height < 1 or not inside:
        raise UsageError(
            f"the box of the mask is {left},{top},{width},{height}; expected x,y,w,h inside of "
            f"{size[0]} x {size[1]} pixels",
            param="mask",
        )
    mask = Image.new("L", size, 0)
    mask.paste(255, (left, top, left + width, top + height))
    return mask


def frame_mask(sides: list[int], size: tuple[int, int]) -> Image:
    """Return the mask of all but a box: so many pixels at left, top, right and bottom.

    Raises UsageError unless the box lies inside.
    """
    from PIL import ImageOps

    left, top, right, bottom = sides
    return ImageOps.invert(
        box_mask([left, top, size[0] - left - right, size[1] - top - bottom], size)
    )


def mark_things(mask: Image, count: object) -> Image:
    """Return a mask that remembers how many things of one name it covers, if it is a number."""
    mask.info[_THINGS] = count
    return mask


def things_of(mask: Image | None) -> int:
    """Return how many things of one name a mask covers, 1 for one that does not say."""
    found = mask.info.get(_THINGS, 1) if mask is not None else 1
    return found if isinstance(found, int) else 1  # what a file says may be anything


def rectangle_of(mask: Image) -> dict[str, list[int]]:
    """Return a mask in whole numbers where it is a rectangle, else nothing.

    `redrawn` is the box (left, top, width, height) that is white amid black; `around` says how far
    the white reaches from left, top, right and bottom around a black box, as in outpainting.
    """
    from PIL import ImageOps

    width, height = mask.size
    if found := mask.getbbox():
        left, top, right, bottom = found
        box = [left, top, right - left, bottom - top]
        if box_mask(box, mask.size).tobytes() == mask.tobytes():
            return {"redrawn": box}
    if found := ImageOps.invert(mask).getbbox():
        left, top, right, bottom = found
        sides = [left, top, width - right, height - bottom]
        if frame_mask(sides, mask.size).tobytes() == mask.tobytes():
            return {"around": sides}
    return {}


def _check_size(mask: tuple[int, int], picture: tuple[int, int]) -> None:
    if mask == picture:
        return
    turned = mask == picture[::-1]
    hint = "turn it as the picture is turned" if turned else "give one of the same size"
    raise UsageError(
        f"the mask is {mask[0]} x {mask[1]} pixels and the picture {picture[0]} x {picture[1]}; "
        f"{hint}",
        param="mask",
    )


def _shares(mask: Image) -> Image:
    """Return how much of each pixel is redrawn, 0 to 255."""
    import numpy
    from PIL import Image

    if mask.mode in ("LA", "PA", "RGBA") or "transparency" in mask.info:
        pixels = numpy.asarray(mask.convert("RGBA"))
        if pixels[..., 3].min() < 255 or _is_coloured(pixels):
            return Image.fromarray(255 - pixels[..., 3])
        mask = mask.convert("RGB")  # opaque all over, so that it speaks by black and white
    if mask.mode.startswith(("I", "F")):  # of 16 bits, or numbers of any kind
        values = numpy.asarray(mask, numpy.float64)
        scale = 257 if mask.mode.startswith("I") and values.max() > 255 else 1
        return Image.fromarray((values / scale).round().clip(0, 255).astype(numpy.uint8))
    if mask.mode not in ("1", "L"):
        pixels = numpy.asarray(mask.convert("RGB"))
        if _is_coloured(pixels):
            raise UsageError(
                "the mask is a picture in colours without transparency; paint what is to be "
                "redrawn white and the rest black, or make it transparent",
                param="mask",
            )
    return mask.convert("L")


def _is_coloured(pixels: object) -> bool:
    import numpy

    colours = numpy.asarray(pixels)[..., :3].astype(numpy.int16)
    apart = colours.max(-1) - colours.min(-1)
    return bool((apart > _GREY).mean() > _COLOURED)
