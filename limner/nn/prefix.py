"""A text as the prefix of a picture's cells: where it stands, and who sees whom.

Shapes: B pictures, T text positions (left-padded with 0), S cells.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import UsageError


def text_coordinates(text: Tensor) -> Tensor:
    """Return places (B, T, 2) of text before a picture: negative, on the diagonal, -1 the last."""
    before = torch.arange(text.shape[1], device=text.device) - text.shape[1]
    return before[None, :, None].expand(len(text), -1, 2)


def prefix_mask(text: Tensor, cells: Tensor) -> Tensor:
    """Return who may see whom (B, 1, T + S, T + S), of cells (S, S) behind a prefix of text.

    Text sees text, cells see text and what `cells` allows; nobody sees padding but itself.
    """
    prefix, length = text.shape[1], len(cells)
    # 1. Cells see all of the text; text sees no cell.
    allowed = F.pad(cells, (prefix, 0), value=True)
    above = F.pad(torch.ones(prefix, prefix, dtype=torch.bool, device=text.device), (0, length))
    real = F.pad(text != 0, (0, length), value=True)
    allowed = torch.cat([above, allowed])[None] & real[:, None, :]
    # 2. Nobody sees padding, which sees itself: a softmax over nothing would be NaN.
    alone = torch.eye(prefix + length, dtype=torch.bool, device=text.device)
    return (allowed | alone)[:, None]


def filled_behind(ids: Tensor, filler: Tensor) -> Tensor:
    """Return a foreign tokenizer's ids (B, N), one lower than ours (B, T), with padding behind.

    `filler` (N,) is what pads each place. Raises UsageError for more ids than N.
    """
    length = len(filler)
    if ids.shape[1] > length:
        raise UsageError(
            f"the text has {ids.shape[1]} positions; this model reads {length}, so give it shorter"
        )
    ids = F.pad(ids, (length - ids.shape[1], 0))
    first = (ids == 0).int().cumprod(1).sum(1, keepdim=True)
    places = torch.arange(length, device=ids.device)
    moved = ids.gather(1, (places + first) % length)
    return torch.where((places < length - first) & (moved > 0), moved - 1, filler.to(ids.device))
