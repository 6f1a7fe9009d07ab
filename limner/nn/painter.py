"""What paints things and backdrops from their names: it learns those of its world by heart.

A drawing in another colour is a function of a few maps of the noun: its colours by nature, those of
its parts that keep them, and how the main colour falls on the rest. A drawing in a style is one of
the plain drawing. So a network need only learn each noun once, in no colour or style.

Shapes: N drawings, F pixels of a frame's side, A answers of one question, K backdrops, H and W rows
and columns of a picture, h and w of its cells.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.alike import enlarge
from limner.nn.conv import PixelNorm, ResidualBlock, Upsample
from limner.nn.styles import restyle
from limner.nn.told import NOTHING, Told, weigh

# Of a noun, each times alpha: RGB by nature, RGB of what keeps its colour whatever is asked for,
# how much of a colour shows, how much white lies on it, and alpha.
SHEET = (3, 3, 1, 1, 1)
_SHARPER = 4  # power of probabilities that are mixed
_START = 6  # cells of the painter's smallest picture
_FAINT = 0.02  # share of every cell below which a backdrop is left out
_ERROR = 0.02  # mean difference of pixels in [-1, 1] that makes a backdrop e times less likely
_FAR = 0.02  # what all other cells count beside those around one
_SEEN = 4  # backdrops of one picture, at most
_CLEAR = 1 / 1024  # weight in every pixel below which nobody sees a backdrop


def _stages(channels: Sequence[int], pixels: int) -> tuple[nn.Sequential, PixelNorm, Upsample]:
    """Return stages that each double a picture, the last norm, and what makes the pixels.

    No norm looks at the whole picture: one that is all of one colour would come out grey.
    """
    layers: list[nn.Module] = []
    for before, width in pairwise(channels):
        layers += [Upsample(before, width), ResidualBlock(width, PixelNorm)]
    return nn.Sequential(*layers), PixelNorm(channels[-1]), Upsample(channels[-1], pixels)


class _ByHeart(nn.Module):
    """A network of what hangs on a number alone: while it draws, the last ones are kept.

    Each is painted by itself, so that no bit of it hangs on what is painted beside it.
    """

    keeps = 64

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[tuple[int, int], Tensor] = {}  # by number, and side or 0

    def _paint(self, numbers: Tensor) -> Tensor:
        """Return what is painted of numbers (N,)."""
        raise NotImplementedError

    def _each(self, numbers: Tensor, side: int = 0) -> Tensor:
        """Return what is painted of each number (N,), as of it alone, averaged to a told side."""
        if self.training or next(self.parameters()).requires_grad:
            return _pooled(self._paint(numbers), side)
        found = [self._one(number, side) for number in numbers.tolist()]
        return torch.cat(found) if len(found) > 1 else found[0]

    def _one(self, number: int, side: int) -> Tensor:
        found = self._kept.get((number, side))
        if found is None:
            if side:
                found = _pooled(self._one(number, 0), side)
            else:
                device = next(self.parameters()).device
                found = self._paint(torch.tensor([number], device=device))
            if len(self._kept) >= self.keeps:
                self._kept.clear()  # rarely, and another thread may do the same
            self._kept[number, side] = found
        return found

    def _apply(self, *what: Any, **how: Any) -> Self:
        self._kept = {}
        moved: Self = super()._apply(*what, **how)  # type: ignore[no-untyped-call]
        return moved

    def _load_from_state_dict(self, *what: Any, **how: Any) -> None:
        self._kept = {}
        super()._load_from_state_dict(*what, **how)


def _pooled(pictures: Tensor, side: int) -> Tensor:
    return F.adaptive_avg_pool2d(pictures, side) if side else pictures


class Painter(_ByHeart):
    """Nouns, colours and styles to drawings (N, 4, F, F): RGB times alpha, and alpha, in [0, 1]."""

    tints: Tensor
    natural: Tensor

    def __init__(
        self, answers: Sequence[int], channels: Sequence[int], styles: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.styles = tuple(styles)  # of the third question's answers from 1 on
        self.side = _START * 2 ** len(channels)  # of a frame, in pixels
        nouns, colours = answers[:2]
        # What an answer's colour is, and which one a noun has by nature: they are told, not learnt.
        self.register_buffer("tints", torch.zeros(colours, 3))
        self.register_buffer("natural", torch.zeros(nouns, dtype=torch.long))
        self.noun = nn.Embedding(nouns, channels[0])
        self.open = nn.Sequential(
            nn.Linear(channels[0], 2 * channels[0]),
            nn.SiLU(),
            nn.Linear(2 * channels[0], channels[0] * _START**2),
        )
        self.body, self.norm, self.out = _stages(channels, sum(SHEET))

    def sheets(self, nouns: Tensor) -> Tensor:
        """Return what is known of nouns (N,): maps (N, sum(SHEET), F, F) in [0, 1]."""
        return self._each(nouns)

    def _paint(self, numbers: Tensor) -> Tensor:
        x = self.open(self.noun(numbers)).view(len(numbers), -1, _START, _START)
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        drawn = self.out(F.silu(self.norm(x))).sigmoid()
        maps, alpha = drawn.split((sum(SHEET) - 1, 1), dim=1)
        return torch.cat((maps * alpha, alpha), dim=1)

    def forward(self, names: Tensor) -> Tensor:
        """Paint what has these names (N, 3): noun, colour and style."""
        shares = F.one_hot(names[:, 1], len(self.tints)).to(self.tints.dtype)
        return self.paint(self._looks(names[:, 0], shares), names[:, 2].tolist())

    def named(self, likely: Sequence[Tensor]) -> Tensor:
        """Return looks (N, 5) to paint from, of how likely each answer (N, A) is.

        The likeliest noun counts alone. Of colours near ties are mixed, so that near probabilities
        give near colours. A style is none of a look's business.
        """
        shares = F.normalize(likely[1].float().pow(_SHARPER), p=1, dim=1)
        return self._looks(likely[0].argmax(1), shares)

    def _looks(self, nouns: Tensor, shares: Tensor) -> Tensor:
        """Return noun, share of the natural colour, and RGB times the share of others (N, 5)."""
        own = F.one_hot(self.natural[nouns], shares.shape[1]).bool()
        own[:, 0] = True  # no colour was told
        natural = (shares * own).sum(1, keepdim=True)
        others = ((shares * ~own)[:, :, None] * self.tints.float()).sum(1)
        return torch.cat((nouns[:, None].float(), natural.float(), others), dim=1)

    def paint(self, looks: Tensor, styles: Sequence[int] = ()) -> Tensor:
        """Paint looks (N, 5), in the styles (N,) that these answers stand for."""
        # 1. Each noun once, in whatever colours it is asked for.
        nouns, which = looks[:, 0].long().unique(return_inverse=True)
        sheets = self.sheets(nouns)[which]
        by_nature, kept, gain, lift, alpha = sheets.split(SHEET, dim=1)
        natural, rgb = (each[..., None, None] for each in looks[:, 1:].to(sheets).split((1, 3), 1))
        colours = natural * by_nature + (1 - natural) * (kept + lift) + rgb * gain
        drawn = torch.cat((torch.minimum(colours, alpha), alpha), dim=1)
        # 2. Styles, of the plain drawings.
        for number, style in enumerate(self.styles, start=1):
            if number > 1 and (rows := [at for at, each in enumerate(styles) if each == number]):
                drawn[rows] = restyle(drawn[rows], style)
        return drawn

    def style(self, style: str) -> int:
        """Return the answer that stands for a style, 0 for one that it does not know."""
        return 1 + self.styles.index(style) if style in self.styles else 0


class Backdrops(_ByHeart):
    """Names of backdrops to pictures, and cells that say which one they show to one picture."""

    keeps = 128  # half of them small

    def __init__(self, count: int, cells: int, channels: Sequence[int], pixels: int = 3) -> None:
        super().__init__()
        self.plan = nn.Embedding(count, channels[0] * cells**2)
        self.body, self.norm, self.out = _stages(channels, pixels)
        self.cells = cells

    def forward(self, names: Tensor) -> Tensor:
        """Return pictures (K, 3, H, W), nominally in [-1, 1], of backdrops (K,)."""
        return self._each(names)

    def _paint(self, numbers: Tensor) -> Tensor:
        x = self.plan(numbers).view(len(numbers), -1, self.cells, self.cells)
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        drawn: Tensor = self.out(F.silu(self.norm(x)))
        return drawn

    def mixed(
        self, logits: Tensor, small: Tensor, things: Tensor, told: Sequence[Told] = ()
    ) -> Tensor:
        """Return pictures (B, 3, H, W) of what cells (B, A, h, w) say they show.

        Of the likely ones those count that look like the `small` pictures (B, 3, s, s) there, where
        nothing stands before them: so says answer 0 of `things` (B, A, h, w), also logits. The one
        that words have `told` of a picture is likelier than what its cells alone say. Where cells
        differ, each shows its own, and between them one fades into the other.
        """
        pictures = list[Tensor]()
        # One picture after the other: its pixels must not depend on those beside it.
        every = zip(logits, small, things, told or [NOTHING] * len(logits), strict=True)
        for each, seen, standing, words in every:
            share, free = each.float().softmax(0), standing.float().softmax(0)[:1]
            if words.place is not None:
                weigh(share, [words.place], words.odds)
            _, most = share.mean((1, 2)).topk(min(_SEEN, len(share)))
            names = most[share[most].amax((1, 2)) > _FAINT].sort().values
            if len(names) > 1:
                logs = _SHARPER * share[names].clamp_min(1e-30).log()
                small_ones = self._each(names, seen.shape[-1]).float()
                logs = logs - _unlike(small_ones, seen.float(), free) / _ERROR
                weights = logs.softmax(0)
                clear = weights.amax((1, 2)) > _CLEAR
                names, weights = names[clear], F.normalize(weights[clear], p=1, dim=0)
            drawn = self(names)
            if len(names) > 1:
                faded = enlarge(weights[:, None], drawn.shape[2:]).to(drawn.dtype)
                drawn = (faded * drawn).sum(0, keepdim=True)
            pictures.append(drawn[0])
        return torch.stack(pictures)


def _unlike(drawn: Tensor, seen: Tensor, free: Tensor) -> Tensor:
    """Return how far drawings (K, 3, s, s) are from a small picture (3, s, s), by cells (K, h, w).

    It is the mean difference around each cell, of the cells (1, h, w) that are free; those that are
    far away count a little, for cells in the midst of a large thing.
    """
    wrong = (drawn - seen).abs().mean(1, keepdim=True)
    wrong = F.adaptive_avg_pool2d(wrong, (free.shape[1], free.shape[2])) * free
    around, count = (
        F.avg_pool2d(each, 3, 1, 1) + _FAR * each.mean((2, 3), keepdim=True)
        for each in (wrong, free[None])
    )
    return (around / count.clamp_min(1e-6))[:, 0]
