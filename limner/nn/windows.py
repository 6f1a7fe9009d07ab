"""What a cell sees of a text and of the cells before it: a row, a column, or a window around it.

Shapes: N positions, those of the text first, then the cells in raster order. As DALL-E has it
(Ramesh 2021, arXiv 2102.12092, figure 11), in the form of github.com/ai-forever/ru-dalle 1.1.3,
rudalle/dalle/image_attention.py: all of the text is seen, and so is a cell itself.
"""

import torch
from torch import Tensor

REACH = 5  # cells to each side: a window is 11 cells wide
KINDS = ("row", "column", "window", "torus")


def allowed(kind: str, text: int, side: int) -> Tensor:
    """Return who may see whom (N, N) of `text` positions and side x side cells.

    A "row" are the cells up to the one above; a "window" ends at the picture's edges, and a
    "torus" goes on at the other side, but never to cells that come later.
    """
    places = torch.arange(text + side * side) - text
    later, earlier = places[:, None], places
    if kind == "row":
        near = later - earlier <= side
    elif kind == "column":
        near = (later - earlier) % side == 0
    else:
        apart = [(later // side - earlier // side).abs(), (later % side - earlier % side).abs()]
        if kind == "torus":
            apart = [torch.minimum(each, side - each) for each in apart]
        near = (apart[0] <= REACH) & (apart[1] <= REACH)
    return (later >= earlier) & (near | (earlier < 0))
