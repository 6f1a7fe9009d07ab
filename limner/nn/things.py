"""A decoder that reads from the codes which things stand where, and paints each in its own frame.

What stands where, as in AIR (Eslami 2016, arXiv 1603.08575) and SPACE (Lin 2020, arXiv 2001.02407);
here both are taught by labels. A thing is painted the same way wherever it stands and however large
it is, so that a small network learns how some hundred look; a decoder of pixels learns each at each
place anew, and paints what is right on average.

Shapes: B pictures, D channels of vectors, h and w the grid's rows and columns, N things of all
pictures together, F pixels of a frame's side, A answers of one question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.autoencoder import HEAD, FinerDecoder
from limner.nn.conv import PixelNorm, ResidualBlock, Upsample
from limner.nn.transformer import Transformer, TransformerConfig

PLACE = 4  # numbers that say where a thing is: how surely, right and down in the cell, its side
_SURE = 0.0  # of the first of these, a logit
_LARGEST = 2.0  # side of a thing, in pictures
_FARTHEST = 2.0  # cells from a middle to the cell that tells it
_OVERLAP = 0.4  # of two things in one place the surer one is taken
_START = 6  # cells of the painter's smallest picture


@dataclass(frozen=True)
class Thing:
    """A thing in a picture: the answers that name it, and its square in shares of the side."""

    names: tuple[int, ...]
    left: float
    top: float
    side: float
    surety: float


class Reader(nn.Module):
    """Vectors (B, D, h, w) to tokens (B, width, h, w), in which all cells have looked at all."""

    def __init__(self, dimensions: int, answers: Sequence[int], width: int, layers: int) -> None:
        super().__init__()
        self.answers = tuple(answers)
        self.open = nn.Sequential(
            nn.Conv2d(dimensions, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, width, 1),
        )
        self.body = Transformer(TransformerConfig(width, layers, width // HEAD, 2 * width))
        self.name = nn.Linear(width, sum(self.answers))
        self.place = nn.Linear(width, PLACE)

    def forward(self, z: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return tokens, the logits (B, A, h, w) of each question, and places (B, PLACE, h, w).

        Every cell names what stands in it; answer 0 is that nothing does. A thing's place is told
        by the cell that its middle is in: right and down from its corner, and the side, in cells.
        """
        rows, columns = z.shape[2:]
        where = torch.cartesian_prod(
            torch.arange(rows, device=z.device), torch.arange(columns, device=z.device)
        )
        cells = self.body(self.open(z).flatten(2).mT, where[None])  # (B, h * w, width)

        def as_map(values: Tensor) -> Tensor:
            return values.mT.unflatten(2, (rows, columns))

        names = as_map(self.name(cells)).split(self.answers, dim=1)
        return as_map(cells), names, as_map(self.place(cells))


class Painter(nn.Module):
    """Names (N, questions) to drawings (N, 4, F, F): RGB times alpha, and alpha, in [0, 1]."""

    def __init__(self, answers: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.side = _START * 2 ** len(channels)  # of a frame, in pixels
        self.words = nn.ModuleList(nn.Embedding(count, channels[0]) for count in answers)
        self.open = nn.Sequential(
            nn.Linear(channels[0], 2 * channels[0]),
            nn.SiLU(),
            nn.Linear(2 * channels[0], channels[0] * _START**2),
        )
        layers: list[nn.Module] = []
        previous = channels[0]
        for width in channels[1:]:
            layers += [Upsample(previous, width), ResidualBlock(width, PixelNorm)]
            previous = width
        self.body = nn.Sequential(*layers)
        self.norm = PixelNorm(previous)
        self.out = Upsample(previous, 4)

    def forward(self, names: Tensor) -> Tensor:
        """Paint what has these names."""
        said = [word(names[:, number]) for number, word in enumerate(self.words)]
        x = self.open(torch.stack(said).sum(0)).view(len(names), -1, _START, _START)
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        drawn = self.out(F.silu(self.norm(x))).sigmoid()
        colours, alpha = drawn.split((3, 1), dim=1)
        return torch.cat((colours * alpha, alpha), dim=1)


class ThingsDecoder(FinerDecoder):
    """A decoder that paints the ground alone, and lays on it the things that it has read.

    What it does not read as a thing is painted as part of the ground, as by `FinerDecoder`.
    """

    def __init__(self, config: Any, dimensions: int, **options: Any) -> None:
        super().__init__(config, dimensions, **options)
        width, answers = config.things_width, config.things
        self.reader = Reader(dimensions, answers, width, config.things_layers)
        self.painter = Painter(answers, config.things_channels)
        self.tell = nn.Conv2d(width, config.decoder_channels[0], 1)  # to the ground
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor) -> Tensor:
        """Return what the decoder draws."""
        tokens, names, places = self.reader(z)
        pictures = self.ground(z, tokens)
        for number, picture in enumerate(pictures):
            things = find_things([each[number] for each in names], places[number])
            if things:
                # One picture after the other: its pixels must not depend on those beside it.
                asked = torch.tensor([each.names for each in things], device=z.device)
                lay(picture, things, self.painter(asked).to(picture.dtype))
        return pictures

    def ground(self, z: Tensor, tokens: Tensor) -> Tensor:
        """Return the pictures (B, 3, H, W) in [-1, 1] without the things that were read."""
        cells = self.cells_of(z) + self.tell(tokens)
        return self.picture_of(cells)


def find_things(names: Sequence[Tensor], places: Tensor) -> list[Thing]:
    """Return the things of one picture, of its logits (A, h, w) and places (PLACE, h, w)."""
    rows, columns = places.shape[1:]
    sure, across, down, size = places.float().unbind()
    said = [each.float().log_softmax(0) for each in names]
    found = list[Thing]()
    for row, column in (sure > _SURE).nonzero().tolist():
        right, below, side = (float(each[row, column]) for each in (across, down, size))
        if not (0 < side <= _LARGEST * columns and max(abs(right), abs(below)) <= _FARTHEST):
            continue  # such are of codes that no picture has
        left, top = column + right - side / 2, row + below - side / 2  # in cells
        # All cells of the thing say together what it is.
        box = (slice(max(0, round(top)), max(1, round(top + side))),
               slice(max(0, round(left)), max(1, round(left + side))))  # fmt: skip
        votes = [each[1:, *box].flatten(1).mean(1) for each in said]
        if votes[0].isfinite().all():  # else the box has no cell
            answers = tuple(1 + int(each.argmax()) for each in votes)
            square = left / columns, top / rows, side / columns
            found.append(Thing(answers, *square, float(sure[row, column])))
    return _apart(found)


def _apart(things: Sequence[Thing]) -> list[Thing]:
    """Return the things without those that lie where a surer one does."""
    kept = list[Thing]()
    for thing in sorted(things, key=lambda each: -each.surety):
        if all(_overlap(thing, other) < _OVERLAP for other in kept):
            kept.append(thing)
    return kept


def _overlap(one: Thing, other: Thing) -> float:
    """Return the shared area of two squares as a share of both together."""
    across = min(one.left + one.side, other.left + other.side) - max(one.left, other.left)
    down = min(one.top + one.side, other.top + other.side) - max(one.top, other.top)
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (one.side**2 + other.side**2 - shared)


def lay(picture: Tensor, things: Sequence[Thing], drawings: Tensor) -> None:
    """Lay drawings (N, 4, F, F) on a picture (3, H, W) in [-1, 1] in place, cut at its edges."""
    height, width = picture.shape[1:]
    for thing, drawing in zip(things, drawings, strict=True):
        left, top, side = (round(each * width) for each in (thing.left, thing.top, thing.side))
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
        if x0 >= x1 or y0 >= y1:
            continue
        sized = F.interpolate(
            drawing[None].float(), (side, side), mode="bicubic", align_corners=False, antialias=True
        )[0].clamp(0, 1).to(picture.dtype)  # fmt: skip
        colours, alpha = sized[:, y0 - top : y1 - top, x0 - left : x1 - left].split((3, 1))
        under = picture[:, y0:y1, x0:x1]
        # RGB times alpha is of [0, 1]; pictures are of [-1, 1].
        under.copy_(2 * colours - alpha + under * (1 - alpha))
