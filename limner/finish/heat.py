"""Heat over a picture: one panel for each map, with its number, its name and its sum.

Shapes: h and w cells of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from limner.errors import shorten
from limner.images import to_tensor

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

PANEL = 192  # pixels of a panel at least
LABEL, GAP = 22, 6
LETTER = 11  # pixels: so many letters and the sum fit
COLOURS = ((0.0, (0, 0, 0)), (0.4, (200, 30, 20)), (0.75, (255, 160, 0)), (1.0, (255, 245, 130)))
LEAST = 0.1  # of the strongest map: what is weaker is not shown as if it were strong
SEEN = 0.02  # of it: what is weaker has no panel
COVER = 0.85  # of the picture, by the hottest cell


def heat_sheet(image: Image, maps: Sequence[tuple[str, float, Tensor]]) -> Image:
    """Return a picture, and beside it the picture under each map, (text, sum, heat (h, w)).

    Each map has its own scale up to its greatest value, weak ones that of a tenth of the strongest;
    what is below 0 is not shown, and maps where nothing can be seen have no panel. The font has
    Latin letters alone: another text shows its number.
    """
    from PIL import Image, ImageDraw, ImageFont

    # Whole multiples, so that pixels stay square and sharp.
    times = max(1, -(-PANEL // image.width))
    size = (image.width * times, image.height * times)
    large = image.convert("RGB").resize(size, Image.Resampling.NEAREST)
    strongest = max((float(heat.max()) for *_, heat in maps), default=0.0)
    panels = [("", large)]
    for number, (text, total, heat) in enumerate(maps, start=1):
        if float(heat.max()) < SEEN * strongest:
            continue
        top = max(float(heat.max()), LEAST * strongest, 1e-9)
        name = f"{number} {text}" if text.isascii() else f"{number}"
        name = shorten(name, size[0] // LETTER)  # a label stays over its own panel
        panels.append((f"{name}  {total:.3g}", overlay(large, heat.clamp(0, top) / top)))
    # Four in a row, or three where fewer places then stay empty.
    columns = min(len(panels), min((4, 3), key=lambda count: -len(panels) % count))
    rows = -(-len(panels) // columns)
    width, height = size[0] + GAP, size[1] + LABEL + GAP
    sheet = Image.new("RGB", (columns * width - GAP, rows * height - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, (label, panel) in enumerate(panels):
        left, top_edge = place % columns * width, place // columns * height
        pen.text((left + 2, top_edge + 3), label, fill="black", font=font)
        sheet.paste(panel, (left, top_edge + LABEL))
    return sheet


def overlay(image: Image, heat: Tensor) -> Image:
    """Return a picture in grey under heat (h, w) in [0, 1], from clear to red and yellow."""
    import torch
    from torch.nn import functional as F

    from limner.images import to_images

    pixels = (to_tensor([image])[0] + 1) / 2  # (3, H, W)
    grey = pixels.mean(0, keepdim=True) * 0.7 + 0.15
    # Between the centres of cells heat is blended, as the picture's cells are.
    fine = F.interpolate(
        heat[None, None].float(), size=pixels.shape[1:], mode="bilinear", align_corners=False
    )[0]
    colour = torch.zeros_like(pixels)
    for (low, first), (high, second) in pairwise(COLOURS):
        share = ((fine - low) / (high - low)).clamp(0, 1)
        here = (fine >= low).float()
        one, other = (torch.tensor(each).view(3, 1, 1) / 255 for each in (first, second))
        colour = here * (one + share * (other - one)) + (1 - here) * colour
    cover = COVER * fine.sqrt()
    mixed = (1 - cover) * grey + cover * colour
    return to_images(mixed[None] * 2 - 1)[0]
