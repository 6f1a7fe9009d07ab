"""Where in a picture a thing is that a word names, as a CLIP sees it.

Windows of several sizes are hidden one after another, and what the picture then shows less of the
word is where the thing is (occlusion, Zeiler 2013, arXiv 1311.2901, section 4.2). A CLIP knows what
it was trained on and no more, and finds something for any word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import UsageError, quote
from limner.images import to_tensor
from limner.pipelines.blending import fill_hole
from limner.text.normalise import normalise_prompt

if TYPE_CHECKING:
    from PIL.Image import Image


CELLS = 8  # along a side: places of windows
SIDES = (2, 3, 4, 6)  # of windows, in cells
_LARGEST = 512  # pixels: a CLIP sees no more
AROUND = 0.5  # of the peak: from here on a cell is of the thing


def find_object(clip: Any, picture: Image, word: str) -> Image:
    """Return the mask of what a word names, 8-bit grey of the picture's size, 255 on the thing.

    It is a rectangle, a cell wider than what was found on each side: what is left of a thing would
    be drawn on. It does not know where a thing ends, and may miss an ear. Raises UsageError for no
    word, and where hiding no part makes the picture fit the word less.
    """
    from PIL import Image as Images

    heat = heat_of(clip, picture, word)  # (CELLS, CELLS)
    peak = float(heat.max())
    if peak <= 0:
        raise UsageError(
            f"nothing in the picture looks like {quote(word)} to the CLIP; give a box x,y,w,h",
            param="mask",
        )
    found = heat >= AROUND * peak
    rows, columns = (each.nonzero()[:, 0].tolist() for each in (found.any(1), found.any(0)))
    box = torch.zeros(1, 1, CELLS, CELLS)
    box[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 1
    cells = F.max_pool2d(box, 3, 1, 1)[0, 0].mul(255).byte().numpy()
    return Images.fromarray(cells).resize(picture.size, Images.Resampling.NEAREST)


def heat_of(clip: Any, picture: Image, word: str) -> Tensor:
    """Return by how much hiding each cell (CELLS, CELLS) makes a picture fit a word less."""
    text = normalise_prompt(word)
    # Squeezed to a square, so that a cell stands for its place whatever the picture's shape.
    square = picture.resize((min(max(picture.size), _LARGEST),) * 2)
    seen = to_tensor([clip.clip.prepare(square)])  # (1, 3, s, s)
    side = seen.shape[-1] / CELLS
    boxes = [
        (row, column, size)
        for size in SIDES
        for row in range(CELLS - size + 1)
        for column in range(CELLS - size + 1)
    ]
    hidden = list[Tensor]()
    covers = torch.zeros(len(boxes), CELLS, CELLS)
    for number, (row, column, size) in enumerate(boxes):
        top, left, far = round(row * side), round(column * side), round(size * side)
        share = torch.zeros_like(seen[:, :1])
        share[..., top : top + far, left : left + far] = 1
        hidden.append(fill_hole(seen, share))
        covers[number, row : row + size, column : column + size] = 1 / size**2
    vectors = clip.encode_images(torch.cat([seen, *hidden]))
    fits = (vectors @ clip.encode_texts([text]).T)[:, 0]
    drops = (fits[0] - fits[1:]).clamp_min(0).cpu()
    return torch.einsum("n,nij->ij", drops, covers) / covers.sum(0)
