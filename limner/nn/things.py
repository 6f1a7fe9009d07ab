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

from limner.nn.autoencoder import HEAD, Decoder, Encoder
from limner.nn.conv import PixelNorm, ResidualBlock, Upsample
from limner.nn.styles import restyle
from limner.nn.transformer import Transformer, TransformerConfig

# Of a cell: logits that a thing's middle is in it, and that what it shows is known; then where the
# thing is, in cells: its middle right and down from the cell's corner, and its side.
PLACE = 5
_GUESS, _LIKELY = 0.5, 0.7  # probabilities
_LARGEST = 2.0  # side of a thing, in pictures
_FARTHEST = 2.0  # cells from a middle to the cell that tells it
_OVERLAP = 0.4  # shared area from which on two places are one
_POSSIBLE = 0.001  # of the likeliest answer's probability: from here on an answer is tried
_TRIED = 5  # answers of a question, at most
_ERROR = 0.01  # mean difference of pixels in [-1, 1] that makes an answer e times less likely
_SHARPER = 4  # power of probabilities that are mixed
_START = 6  # cells of the painter's smallest picture


@dataclass(frozen=True)
class Thing:
    """A thing in a picture: the answers that name it, and its square in shares of the side.

    `surety` is how likely there is one, and `named` how likely it is this one. It is painted from
    the vector `look` (C,), where there is one.
    """

    names: tuple[int, ...]
    left: float
    top: float
    side: float
    surety: float
    named: float
    look: Tensor | None = None

    @property
    def square(self) -> tuple[float, float, float]:
        """Left, top and side, in shares of the picture's side."""
        return self.left, self.top, self.side

    @property
    def opacity(self) -> float:
        """How much of it is painted: nothing of what is a guess, all of what is likely.

        In between it fades, so that near vectors give near pictures.
        """
        return min(1.0, max(0.0, (min(self.surety, self.named) - _GUESS) / (_LIKELY - _GUESS)))

    def pixels(self, width: int, height: int) -> tuple[int, int, int, slice, slice]:
        """Return left, top and side in pixels, and the rows and columns that are in the picture."""
        left, top, side = (round(each * width) for each in self.square)
        rows, columns = (slice(max(at, 0), max(min(at + side, end), 0))
                         for at, end in ((top, height), (left, width)))  # fmt: skip
        return left, top, side, rows, columns


class Reader(nn.Module):
    """Cells (B, C, h, w) to tokens (B, width, h, w), in which all cells have looked at all."""

    def __init__(self, channels: int, answers: Sequence[int], width: int, layers: int) -> None:
        super().__init__()
        self.answers = tuple(answers)
        self.open = nn.Conv2d(channels, width, 1)
        self.body = Transformer(TransformerConfig(width, layers, width // HEAD, 2 * width))
        self.name = nn.Linear(width, sum(self.answers))
        self.place = nn.Linear(width, PLACE)

    def forward(self, cells: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return tokens, the logits (B, A, h, w) of each question, and places (B, PLACE, h, w).

        Every cell names what stands in it; answer 0 is that nothing does.
        """
        rows, columns = cells.shape[2:]
        where = torch.cartesian_prod(
            torch.arange(rows, device=cells.device), torch.arange(columns, device=cells.device)
        )
        seen = self.body(self.open(cells).flatten(2).mT, where[None])  # (B, h * w, width)

        def as_map(values: Tensor) -> Tensor:
            return values.mT.unflatten(2, (rows, columns))

        names = as_map(self.name(seen)).split(self.answers, dim=1)
        return as_map(seen), names, as_map(self.place(seen))


class Namer(nn.Module):
    """Parts of small pictures (N, 3, P, P), one thing in each, to the logits of what names it.

    A part is cut out along the thing's square and has one size for all, so that a thing looks the
    same wherever it stands and however large it is.
    """

    def __init__(self, answers: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.answers, self.side = tuple(answers), 6 * 2 ** len(channels)
        blocks = (1,) + (2,) * (len(channels) - 1)
        self.body = Encoder(channels, blocks, channels[-1])
        self.out = nn.Sequential(
            nn.Linear(channels[-1] * 6**2, 2 * channels[-1]),
            nn.SiLU(),
            nn.Linear(2 * channels[-1], sum(self.answers)),
        )

    def forward(self, parts: Tensor) -> tuple[Tensor, ...]:
        """Return the logits (N, A) of each question; answer 0 is that it is nothing known."""
        logits: Tensor = self.out(self.body(parts).flatten(1))
        return logits.split(self.answers, dim=1)

    def cut(self, pictures: Tensor, rows: Tensor, squares: Tensor) -> Tensor:
        """Return parts (N, 3, P, P) of the pictures `rows` (N,) of (B, 3, s, s).

        `squares` (N, 3) are left, top and side, in shares of a picture's side.
        """
        left, top, side = squares.float().unbind(1)
        nothing = torch.zeros_like(side)
        across = torch.stack((side, nothing, 2 * left + side - 1), dim=1)
        down = torch.stack((nothing, side, 2 * top + side - 1), dim=1)
        size = [len(rows), 3, self.side, self.side]
        places = F.affine_grid(torch.stack((across, down), dim=1), size, align_corners=False)
        return F.grid_sample(
            pictures[rows].float(), places, padding_mode="border", align_corners=False
        )


class Painter(nn.Module):
    """Names (N, questions) to drawings (N, 4, F, F): RGB times alpha, and alpha, in [0, 1].

    With `styles`, the last question asks for one of them, and what is learnt are plain drawings
    alone: the others are functions of these (`limner.nn.styles`).
    """

    def __init__(
        self, answers: Sequence[int], channels: Sequence[int], styles: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.styles = tuple(styles)  # of the last question's answers from 1 on
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
        styles = names[:, -1]
        if self.styles:
            names = torch.cat((names[:, :-1], torch.ones_like(names[:, -1:])), dim=1)
        said = [word(names[:, number]) for number, word in enumerate(self.words)]
        return self.paint(torch.stack(said).sum(0), styles.tolist())

    def style(self, style: str) -> int:
        """Return the answer that stands for a style, 0 for one that it does not know."""
        return 1 + self.styles.index(style) if style in self.styles else 0

    def named(self, likely: Sequence[Tensor]) -> Tensor:
        """Return vectors (N, C) to paint from, of how likely each answer (N, A) is.

        The first question's likeliest answer counts alone. Of others near ties are mixed, so that
        near probabilities give near colours. A style is none of the vector's business.
        """
        shares = [F.one_hot(likely[0].argmax(1), likely[0].shape[1])]
        shares += [each.pow(_SHARPER) for each in likely[1:]]
        if self.styles:
            plain = torch.ones_like(likely[-1][:, 0], dtype=torch.long)
            shares[-1] = F.one_hot(plain, likely[-1].shape[1])
        words: list[Any] = list(self.words)
        said = [
            F.normalize(each.float(), p=1, dim=1) @ word.weight
            for each, word in zip(shares, words, strict=True)
        ]
        return torch.stack(said).sum(0)

    def paint(self, vectors: Tensor, styles: Sequence[int] = ()) -> Tensor:
        """Paint what the vectors (N, C) of names stand for, in the styles (N,) of these answers."""
        x = self.open(vectors).view(len(vectors), -1, _START, _START)
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        drawn = self.out(F.silu(self.norm(x))).sigmoid()
        colours, alpha = drawn.split((3, 1), dim=1)
        drawn = torch.cat((colours * alpha, alpha), dim=1)
        for number, style in enumerate(self.styles, start=1):
            if number > 1 and (rows := [at for at, each in enumerate(styles) if each == number]):
                drawn[rows] = restyle(drawn[rows], style)
        return drawn


class ThingsDecoder(Decoder):
    """A decoder of small pictures, and what paints a large one of the things that it knows.

    The small picture is that of `Decoder`, under the same names of weights. Where a reader of its
    cells knows what they show, the large one has the ground, painted without things, and the things
    on it; elsewhere, and where something stands that is not known, it is the small one enlarged.
    """

    def __init__(self, config: Any, dimensions: int, **options: Any) -> None:
        channels, blocks = config.decoder_channels, config.decoder_blocks
        super().__init__(channels, blocks, dimensions, **options)
        self.factor = config.factor
        self.coarse = min(1 + blocks[0], len(self.body))  # what computes at the grid
        width = config.things_width
        self.reader = Reader(channels[0], config.things, width, config.things_layers)
        self.namer = Namer(config.things, config.namer_channels)
        self.painter = Painter(config.things, config.things_channels, config.styles)
        grounds = config.ground_channels
        self.grounds = Decoder(
            grounds, (1,) * len(grounds), channels[0] + width, options.get("pixels", 3)
        )

    def cells(self, z: Tensor) -> Tensor:
        """Return the channels (B, C, h, w) of the cells, which the reader reads."""
        found: Tensor = self.body[: self.coarse](z.contiguous(memory_format=torch.channels_last))
        return found

    def ground(self, cells: Tensor, tokens: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W) without things, nominally in [-1, 1]."""
        found: Tensor = self.grounds(torch.cat((cells, tokens.to(cells.dtype)), dim=1))
        return found

    def small(self, cells: Tensor) -> Tensor:
        """Return the small pictures (B, 3, s, s)."""
        found: Tensor = self.out(F.silu(self.norm(self.body[self.coarse :](cells))))
        return found

    def forward(self, z: Tensor, style: str = "") -> Tensor:
        """Map vectors to images, nominally in [-1, 1]; all things in a `style`, if one is given."""
        cells = self.cells(z)
        small = self.small(cells)
        enlarged = _enlarged(small, self.factor)
        tokens, names, places = self.reader(cells)
        # 1. The ground shows where its cell is known, and nothing stands in it.
        scale = enlarged.shape[2] // cells.shape[2]
        known = places[:, 1:2].sigmoid()
        shown, known = (_enlarged(each, scale)
                        for each in (known * names[0].softmax(1)[:, :1], known))  # fmt: skip
        grounds = self.ground(cells, tokens)
        # One picture after the other: its pixels must not depend on those beside it.
        every = [self.things(*(each[at : at + 1] for each in (places, small, grounds)))
                 for at in range(len(z))]  # fmt: skip
        for number, things in enumerate(every):
            for thing in things:  # around a thing too, as far as it is painted
                _, _, _, *box = thing.pixels(*reversed(enlarged.shape[2:]))
                part = shown[number][:, *box]
                part.copy_(torch.maximum(part, thing.opacity * known[number][:, *box]))
        pictures = enlarged + shown * (grounds - enlarged)
        # 2. The things.
        for picture, things in zip(pictures, every, strict=True):
            if painted := [each for each in things if each.opacity > 0]:
                looks = torch.stack([each.look for each in painted if each.look is not None])
                styles = [self.painter.style(style) or each.names[-1] for each in painted]
                drawings = self.painter.paint(looks, styles)
                lay(picture, painted, drawings.to(picture.dtype))
        return pictures

    def things(self, places: Tensor, small: Tensor, ground: Tensor) -> list[Thing]:
        """Return the things of one picture, of its places (1, PLACE, h, w).

        `small` (1, 3, s, s) is what it is like, `ground` (1, 3, H, W) without things.
        """
        found = find_places(places[0])
        if not found:
            return []
        squares = torch.tensor([each[:3] for each in found], device=small.device)
        rows = torch.zeros(len(found), dtype=torch.long, device=small.device)
        parts, under = (self.namer.cut(each, rows, squares) for each in (small, ground))
        likely = [each.float().softmax(1) for each in self.namer(parts)]
        likely[0][:, 0] = 0  # a thing is none of nothing
        for at in range(len(found)):
            self._compare([each[at] for each in likely], parts[at], under[at])
        looks = self.painter.named(likely)
        answers = torch.stack([each.argmax(1) for each in likely], dim=1).tolist()
        return [
            Thing(tuple(answers[at]), *found[at], float(likely[0][at].max()), looks[at])
            for at in range(len(found))
        ]

    def _compare(self, likely: Sequence[Tensor], part: Tensor, under: Tensor) -> None:
        """Change how likely each answer (A,) is, in place: likely ones are painted and compared.

        What `part` (3, P, P) of the small picture shows decides by Bayes' rule between nouns and
        colours, drawn on the ground `under` (3, P, P).
        """
        if len(likely) < 2 or not likely[0].any():  # nothing that it could be
            return
        nouns, colours = ((each >= _POSSIBLE * each.max()).nonzero()[:, 0] for each in likely[:2])
        nouns, colours = (each[likely[at][each].argsort(descending=True)[:_TRIED]]
                          for at, each in enumerate((nouns, colours)))  # fmt: skip
        if len(nouns) * len(colours) == 1:
            return
        # 1. Every noun in every colour, as small as they can be told apart in the part.
        pairs = torch.cartesian_prod(nouns, colours)  # (K, 2)
        chosen = [F.one_hot(pairs[:, at], len(each)) for at, each in enumerate(likely[:2])]
        rest = [each.expand(len(pairs), -1) for each in likely[2:]]
        styles = [int(likely[-1].argmax())] * len(pairs)
        drawn = self.painter.paint(self.painter.named([*chosen, *rest]), styles).float()
        side = part.shape[1] // 2
        drawn, seen, behind = (F.adaptive_avg_pool2d(each, side) for each in (drawn, part, under))
        rgb, alpha = drawn.split((3, 1), dim=1)
        wrong = (2 * rgb - alpha + behind * (1 - alpha) - seen).abs().mean((1, 2, 3))  # (K,)
        # 2. What was not tried keeps its share.
        before = likely[0][pairs[:, 0]].log() + likely[1][pairs[:, 1]].log()
        after = (before - wrong / _ERROR).softmax(0)
        for at, each in enumerate(likely[:2]):
            tried = pairs[:, at].unique()
            shares = torch.zeros_like(each).index_add_(0, pairs[:, at], after)
            each[tried] = (shares * each[tried].sum())[tried]


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def find_places(places: Tensor) -> list[tuple[float, float, float, float]]:
    """Return where things are in one picture, of its places (PLACE, h, w); the surest first.

    Each is left, top and side, in shares of the picture's, and how likely it is.
    """
    rows, columns = places.shape[1:]
    sure, _, across, down, size = places.float().unbind()
    sure = sure.sigmoid()
    found = list[tuple[float, float, float, float]]()
    for row, column in (sure > _GUESS).nonzero().tolist():
        right, below, side = (float(each[row, column]) for each in (across, down, size))
        if not (0 < side <= _LARGEST * columns and max(abs(right), abs(below)) <= _FARTHEST):
            continue  # such are of codes that no picture has
        left, top = column + right - side / 2, row + below - side / 2  # in cells
        found.append((left / columns, top / rows, side / columns, float(sure[row, column])))
    # Of two in one place the surer one is taken.
    kept = list[tuple[float, float, float, float]]()
    for place in sorted(found, key=lambda each: -each[3]):
        if all(overlap(place, other) < _OVERLAP for other in kept):
            kept.append(place)
    return kept


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the shared area of two squares, left, top and side, as a share of both together."""
    (left, top, side), (left2, top2, side2) = one[:3], other[:3]
    across = min(left + side, left2 + side2) - max(left, left2)
    down = min(top + side, top2 + side2) - max(top, top2)
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (side**2 + side2**2 - shared)


def lay(picture: Tensor, things: Sequence[Thing], drawings: Tensor) -> None:
    """Lay drawings (N, 4, F, F) on a picture (3, H, W) in [-1, 1] in place, cut at its edges."""
    height, width = picture.shape[1:]
    for thing, drawing in zip(things, drawings, strict=True):
        left, top, side, rows, columns = thing.pixels(width, height)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        sized = F.interpolate(
            drawing[None].float(), (side, side), mode="bicubic", align_corners=False, antialias=True
        )[0].clamp(0, 1).to(picture.dtype)  # fmt: skip
        down, across = (slice(each.start - at, each.stop - at)
                        for each, at in ((rows, top), (columns, left)))  # fmt: skip
        colours, alpha = (thing.opacity * sized[:, down, across]).split((3, 1))
        under = picture[:, rows, columns]
        # RGB is times alpha already, and of [0, 1]; pictures are of [-1, 1].
        under.copy_(2 * colours - alpha + under * (1 - alpha))
