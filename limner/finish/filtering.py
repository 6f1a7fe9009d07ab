"""Whole pictures in another drawing style by filters, which know nothing of what they show.

Line art is ink where a picture is darker than what is around (difference of Gaussians, as XDoG,
Winnemoeller 2012, doi 10.1016/j.cag.2012.03.004); pixel art is large pixels of few colours. Of a
sticker and a silhouette the subject is cut out first, which takes a plain background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from limner.errors import UsageError
from limner.finish.cutout import cut_out, grow_alpha

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = npt.NDArray[np.float32]
FINE = 480  # parts of the shorter side that a line is wide
_WIDER = 1.6  # the larger blur beside the smaller one
_FAINT, _BLACK = 0.012, 0.06  # how much darker than around ink begins, and is black
_PAPER, _INK = 255, 26
_BLOCKS = 64  # large pixels along the shorter side
_COLOURS = 32
_DARK = (26, 26, 36)  # of a silhouette
_GROWN = 384  # pixels of the longer side at which a border is made
_CLEAR = 127  # alpha up to which a pixel is background
_TOUCHES = 0.15  # of a picture's edge may belong to its subject
_BORDER = 24  # parts of the shorter side that a sticker's border is wide


def filtered(image: Image, style: str) -> Image:
    """Return an RGB picture, of its size, as "line art", "pixel art", "sticker" or "silhouette".

    A sticker's border and a silhouette stand on the picture's own background. Raises UsageError
    where no subject is found for these, and for a style that no filter makes.
    """
    if style == "line art":
        return _line_art(image)
    if style == "pixel art":
        return _pixel_art(image)
    if style in ("sticker", "silhouette"):
        return _sticker(image) if style == "sticker" else _silhouette(image)
    raise UsageError(
        f"nothing that the model knows was found in the picture, and no filter makes it {style}; "
        "give a picture that shows such things, or take line art or pixel art",
        param="style",
    )


def _line_art(image: Image) -> Image:
    from PIL import Image as images
    from PIL import ImageFilter

    grey = image.convert("L")
    width = max(0.7, min(image.size) / FINE)
    near, far = (
        np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255
        for radius in (width, _WIDER * width)
    )
    # Dark places have small steps: a line is judged by the light around it.
    darker = (far - near) / (0.25 + 0.75 * far)
    ink = ((darker - _FAINT) / (_BLACK - _FAINT)).clip(0, 1)
    pixels = _PAPER - (_PAPER - _INK) * ink
    return images.fromarray(pixels.round().astype(np.uint8), "L").convert("RGB")


def _pixel_art(image: Image) -> Image:
    from PIL import Image as images

    block = max(1.0, min(image.size) / _BLOCKS)
    width, height = (max(1, round(side / block)) for side in image.size)
    small = image.resize((width, height), images.Resampling.BOX)
    few = small.quantize(_COLOURS, images.Quantize.MEDIANCUT, dither=images.Dither.NONE)
    return few.convert("RGB").resize(image.size, images.Resampling.NEAREST)


def _subject(image: Image, style: str) -> Image:
    """Return the picture as RGBA, clear around its subject.

    Raises UsageError where none is found, and where it would be what a patterned background left:
    at most a part of the picture's edge may belong to a subject.
    """
    try:
        thing = cut_out(image)
    except UsageError:
        thing = None
    if thing is not None:
        alpha = np.asarray(thing.getchannel("A"))
        edge = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
        if float((edge > _CLEAR).mean()) <= _TOUCHES:
            return thing
    raise UsageError(
        "nothing that the model knows was found in the picture, nor a subject before a plain "
        f"background to make a {style} of; give a picture that shows one, or take line art or "
        "pixel art",
        param="style",
    )


def _sticker(image: Image) -> Image:
    from PIL import Image as images

    thing = _subject(image, "sticker")
    alpha = thing.getchannel("A")
    small = alpha.copy()
    small.thumbnail((_GROWN, _GROWN))  # a disc is as round at that size, and grown at once
    border = max(1, round(min(small.size) / _BORDER))
    paper = images.new("RGBA", image.size, "white")
    paper.putalpha(grow_alpha(small, border).resize(image.size, images.Resampling.BICUBIC))
    on_ground = images.alpha_composite(image.convert("RGBA"), paper)
    return images.alpha_composite(on_ground, thing).convert("RGB")


def _silhouette(image: Image) -> Image:
    from PIL import Image as images

    dark = images.new("RGB", image.size, _DARK)
    return images.composite(dark, image, _subject(image, "silhouette").getchannel("A"))
