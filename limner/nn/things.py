"""A decoder that reads from the codes which things stand where, and paints each in its own frame.

What stands where, as in AIR (Eslami 2016, arXiv 1603.08575) and SPACE (Lin 2020, arXiv 2001.02407);
here both are taught by labels. A thing is painted the same way wherever it stands and however large
it is, so that a small network learns how some hundred look; a decoder of pixels learns each at each
place anew, and paints what is right on average.

Shapes: B pictures, D channels of vectors, h and w the grid's rows and columns, N things of all
pictures together, F pixels of a frame's side, A answers of one question.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn import alike
from limner.nn.autoencoder import HEAD, Decoder, Encoder
from limner.nn.painter import Backdrops, Painter
from limner.nn.told import LIKELY, NOTHING, Told, alike_things, crossed, each_once, settled, weigh
from limner.nn.transformer import Transformer, TransformerConfig

# Of a cell: logits that a thing's middle is in it, and that what it shows is known; then where the
# thing is, in cells: its middle right and down from the cell's corner, and its side.
PLACE = 5
_GUESS = 0.5  # probability of what is not painted
_LARGEST = 2.0  # side of a thing, in pictures
_FARTHEST = 2.0  # cells from a middle to the cell that tells it
_OVERLAP = 0.4  # shared area from which on two places are one
_APART = 0.1  # the same of a place that is taken because words ask for one more
_POSSIBLE = 0.001  # of the likeliest answer's probability: from here on an answer is tried
_TRIED = 5  # answers of a question, at most
_ERROR = 0.01  # mean difference of pixels in [-1, 1] that makes an answer e times less likely


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
        return min(1.0, max(0.0, (min(self.surety, self.named) - _GUESS) / (LIKELY - _GUESS)))

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
        logits = alike.each_row(self.out, self.body(parts).flatten(1))
        return logits.split(self.answers, dim=1)

    def cut(self, pictures: Tensor, rows: Tensor, squares: Tensor) -> Tensor:
        """Return parts (N, 3, P, P) of the pictures `rows` (N,) of (B, 3, s, s).

        `squares` (N, 3) are left, top and side, in shares of a picture's side.
        """
        left, top, side = squares.float()[:, :, None].unbind(1)  # (N, 1)
        # Middles of a part's pixels, in a picture that reaches from -1 to 1.
        middles = (2 * torch.arange(self.side, device=squares.device) + 1) / self.side - 1
        across, down = (side * middles + 2 * at + side - 1 for at in (left, top))  # (N, P)
        shape = (len(rows), self.side, self.side)
        places = torch.stack((across[:, None].expand(shape), down[:, :, None].expand(shape)), -1)
        return F.grid_sample(
            pictures[rows].float(), places, padding_mode="border", align_corners=False
        )


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
        answers = (*config.things, config.backdrops)
        self.reader = Reader(channels[0], answers, width, config.things_layers)
        self.namer = Namer(config.things, config.namer_channels)
        self.painter = Painter(config.things, config.things_channels, config.styles)
        cells = config.seen // 2 ** len(channels)
        pixels = options.get("pixels", 3)
        self.backdrops = Backdrops(config.backdrops, cells, config.ground_channels, pixels)
        alike.make_alike(self)

    def cells(self, z: Tensor) -> Tensor:
        """Return the channels (B, C, h, w) of the cells, which the reader reads."""
        found: Tensor = self.body[: self.coarse](z.contiguous(memory_format=torch.channels_last))
        return found

    def small(self, cells: Tensor) -> Tensor:
        """Return the small pictures (B, 3, s, s)."""
        found: Tensor = self.out(F.silu(self.norm(self.body[self.coarse :](cells))))
        return found

    def forward(self, z: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """Map vectors to images, nominally in [-1, 1]; words may say more of each of them."""
        cells = self.cells(z)
        small = self.small(cells)
        enlarged = _enlarged(small, self.factor)
        _, names, places = self.reader(cells)
        # 1. The ground shows where its cell is known, and nothing stands in it.
        scale = enlarged.shape[2] // cells.shape[2]
        known = places[:, 1:2].sigmoid()
        shown, known = (_enlarged(each, scale)
                        for each in (known * names[0].softmax(1)[:, :1], known))  # fmt: skip
        grounds = self.grounds(names, small, told)
        every = self.things(places, small, grounds, told)
        for number, things in enumerate(every):
            for thing in things:  # around a thing too, as far as it is painted
                _, _, _, *box = thing.pixels(*reversed(enlarged.shape[2:]))
                part = shown[number][:, *box]
                part.copy_(torch.maximum(part, thing.opacity * known[number][:, *box]))
        pictures = enlarged + shown * (grounds - enlarged)
        # 2. The things.
        for number, things in enumerate(every):
            picture = pictures[number]
            if painted := [each for each in things if each.opacity > 0]:
                looks = torch.stack([each.look for each in painted if each.look is not None])
                style = self.painter.style(told[number].style) if told else 0
                styles = [style or each.names[-1] for each in painted]
                drawings = self.painter.paint(looks, styles)
                lay(picture, painted, drawings.to(picture.dtype))
        return pictures

    def grounds(self, names: Sequence[Tensor], small: Tensor, told: Sequence[Told] = ()) -> Tensor:
        """Return pictures (B, 3, H, W) without things, of what the reader names in cells."""
        return self.backdrops.mixed(names[-1], small, names[0], told)

    def things(
        self, places: Tensor, small: Tensor, grounds: Tensor, told: Sequence[Told] = ()
    ) -> list[list[Thing]]:
        """Return the things of each picture, of its places (B, PLACE, h, w).

        `small` (B, 3, s, s) is what they are like, `grounds` (B, 3, H, W) without things; words may
        have told of each picture what it shows.
        """
        told = told or [NOTHING] * len(places)
        found = [find_places(*each) for each in zip(places, told, strict=True)]
        listed = [each for here in found for each in here]
        if not listed:
            return [[] for _ in found]
        device = small.device
        squares = torch.tensor([each[:3] for each in listed], device=device)
        rows = torch.arange(len(found)).repeat_interleave(torch.tensor(list(map(len, found))))
        parts, under = (self.namer.cut(each, rows.to(device), squares) for each in (small, grounds))
        likely = [each.float().softmax(1) for each in self.namer(parts)]
        likely[0][:, 0] = 0  # a thing is none of nothing
        for at in range(len(listed)):
            self._compare([each[at] for each in likely], parts[at], under[at], told[int(rows[at])])
        for number in range(len(found)):
            here = (rows == number).nonzero()[:, 0].to(device)
            for each, several in zip(likely[:2], told[number].several, strict=False):
                each[here] = alike_things(each[here], several, told[number].weight)
            if len(likely) > 1:
                likely[0][here], likely[1][here] = each_once(
                    likely[0][here], likely[1][here], told[number]
                )
            if told[number].weight == 1:  # between two pictures, what is unsure goes over slowly
                for each, asked in zip(likely[:2], told[number].answers, strict=False):
                    each[here] = settled(each[here], asked)
        looks = self.painter.named(likely)
        answers = torch.stack([each.argmax(1) for each in likely], dim=1).tolist()
        named = likely[0].amax(1).tolist()
        things = (
            Thing(tuple(answer), *place, sure, look)
            for answer, place, sure, look in zip(answers, listed, named, looks, strict=True)
        )
        return [list(islice(things, len(here))) for here in found]

    def _compare(self, likely: Sequence[Tensor], part: Tensor, under: Tensor, told: Told) -> None:
        """Change how likely each answer (A,) is, in place: likely ones are painted and compared.

        By Bayes' rule between nouns and colours: those that words have `told` are likelier before,
        and what `part` (3, P, P) of the small picture shows decides, drawn on the ground `under`
        (3, P, P).
        """
        if len(likely) < 2 or not likely[0].any():  # nothing that it could be
            return
        for each, asked in zip(likely[:2], told.answers, strict=True):
            weigh(each, asked, told.odds)
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
        before -= math.log(told.odds) * crossed(pairs, told.things)
        after = (before - wrong / _ERROR).softmax(0)
        for at, each in enumerate(likely[:2]):
            tried = pairs[:, at].unique()
            shares = torch.zeros_like(each).index_add_(0, pairs[:, at], after)
            each[tried] = (shares * each[tried].sum())[tried]


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return alike.enlarge(x, [factor * side for side in x.shape[2:]])


def find_places(places: Tensor, told: Told = NOTHING) -> list[tuple[float, float, float, float]]:
    """Return where things are in one picture, of its places (PLACE, h, w); the surest first.

    Each is left, top and side, in shares of the picture's, and how likely it is. As many as words
    have `told` of are as likely as that makes them.
    """
    rows, columns = places.shape[1:]
    sure, _, across, down, size = places.detach().float().unbind()
    sure, missed = sure.sigmoid(), (sure + math.log(told.missed)).sigmoid()
    found = list[tuple[float, float, float, float]]()
    for row, column in ((missed if told.count else sure) > _GUESS).nonzero().tolist():
        right, below, side = (float(each[row, column]) for each in (across, down, size))
        if not (0 < side <= _LARGEST * columns and max(abs(right), abs(below)) <= _FARTHEST):
            continue  # such are of codes that no picture has
        left, top = column + right - side / 2, row + below - side / 2  # in cells
        found.append((left / columns, top / rows, side / columns, float(sure[row, column])))
    # Of two in one place the surer one is taken, and of unlikely ones as many as are missed.
    kept = list[tuple[float, float, float, float]]()
    for place in sorted(found, key=lambda each: -each[3]):
        left, top, side, likely = place
        apart = _OVERLAP if likely > _GUESS else _APART
        if len(kept) < told.count:
            likely = likely * told.missed / (likely * told.missed + 1 - likely)
        elif likely <= _GUESS:
            break
        if all(overlap(place, other) < apart for other in kept):
            kept.append((left, top, side, likely))
    return kept


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the shared area of two squares, left, top and side, as a share of both together."""
    (left, top, side), (left2, top2, side2) = one[:3], other[:3]
    across = min(left + side, left2 + side2) - max(left, left2)
    down = min(top + side, top2 + side2) - max(top, top2)
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (side**2 + side2**2 - shared)


def lay(picture: Tensor, things: Sequence[Thing], drawings: Tensor) -> None:
    """Lay drawings (N, 4, F, F) on a picture (3, H, W) in [-1, 1] in place, cut at its edges.

    What ends lower is in front.
    """
    height, width = picture.shape[1:]
    both = zip(things, drawings, strict=True)
    for thing, drawing in sorted(both, key=lambda each: each[0].top + each[0].side):
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
