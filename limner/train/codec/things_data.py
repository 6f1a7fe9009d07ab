"""Batches for a decoder of things: scenes with what stands where, grounds, and things alone."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from limner.data.batches.batches import PlacedScene, pixels_to_tensor, scene_batch, step_generator
from limner.data.scenes.backgrounds import background, backgrounds
from limner.data.scenes.graph import is_wide
from limner.data.scenes.nouns import nouns
from limner.data.scenes.scene import UNIT, layout
from limner.data.scenes.sprites import COLOURS, Pixels, find_font, sheet
from limner.nn.painter import SHEET, Painter
from limner.nn.things import PLACE
from limner.train.codec.naming import COLOUR_NAMES, UNASKED, background_index, cell_labels
from limner.train.codec.things_settings import ThingsTraining

_ASIDE = 0.06  # of its side a crop is moved, and larger or smaller, at most


class ThingsBatch(NamedTuple):
    """Scenes (B, 3, s, s) of a small size s, and what is to be read and painted of them.

    `labels` (B, 4, h, w) name cells. `places` (B, PLACE, h, w) are 1 where a thing's middle is, 1
    where a cell is of a scene, and where and how large a thing is. `grounds` (G, 3, S, S) are
    the backdrops `backdrops` (G,). `nouns` (N,) have the `sheets` (N, 9, F, F), uint8, that
    `limner.nn.painter` learns. `squares` (M, 3), left, top and side in shares of the side,
    are of the pictures `of` (M,), and show what has the names `named` (M, 3), 0 for nothing known.
    """

    pictures: Tensor
    labels: Tensor
    places: Tensor
    backdrops: Tensor
    grounds: Tensor
    nouns: Tensor
    sheets: Tensor
    of: Tensor
    squares: Tensor
    named: Tensor


class Things(Dataset[ThingsBatch]):
    """Training batches by step, for a DataLoader: item `step` is a pure function of the config."""

    def __init__(
        self, batch: int, weights: ThingsTraining, cells: int, sizes: tuple[int, int], **look: Any
    ) -> None:
        self.batch, self.weights, self.cells = batch, weights, cells
        (self.large, self.frame), self.look = sizes, look

    def __getitem__(self, step: int) -> ThingsBatch:
        """Return what is learnt in one step."""
        weights, random = self.weights, step_generator(self.look["seed"], step)
        pictures, scenes = self._scenes(step)
        labels, places = cell_labels(scenes, self.cells), places_of(scenes, self.cells)
        # Behind a thing is a backdrop too, which shows around it.
        labels[:, 3] = torch.tensor([background_index()[each.background] for each, _ in scenes])[
            :, None, None
        ]
        # 1. Pictures unlike any scene: nothing is known of them.
        odd = torch.rand(len(scenes), generator=random) < weights.strange
        stood = places.clone()
        for row in odd.nonzero()[:, 0].tolist():
            other = int(torch.randint(len(scenes), (1,), generator=random))
            pictures[row] = estrange(pictures[row], pictures[other], random)
            labels[row], places[row] = UNASKED, 0
        # 2. Backdrops and nouns, all as often.
        wide = is_wide(self.look["level"])
        backdrops = torch.randint(len(backgrounds(wide=wide)), (weights.grounds,), generator=random)
        grounds = [_backdrop(each, self.large) for each in backdrops.tolist()]
        painted = pixels_to_tensor(np.stack(grounds)) if grounds else pictures.new_zeros(0, 3, 1, 1)
        chosen = torch.randint(len(nouns(wide=wide)), (weights.drawings,), generator=random)
        sheets = sheets_of(chosen.tolist(), self.frame)
        crops = crops_of(labels, stood, weights.crops, random)
        return ThingsBatch(pictures, labels, places, backdrops, painted, 1 + chosen, sheets, *crops)

    def _scenes(self, step: int) -> tuple[Tensor, list[PlacedScene]]:
        """Return pictures and what they show; none where no lesson is about scenes."""
        if not self.weights.reading and not self.weights.crops:
            return torch.zeros(0, 3, self.look["size"], self.look["size"]), []
        return scene_batch("train", step * self.batch, self.batch, **self.look)


def estrange(picture: Tensor, other: Tensor, random: torch.Generator) -> Tensor:
    """Return a picture (3, s, s) unlike any scene, made of one or two.

    It is turned on its side or its head, a part of it enlarged, or mixed with the other one.
    """
    way = int(torch.randint(5, (1,), generator=random))
    if way < 3:
        return picture.rot90(way + 1, (1, 2)).clone()
    if way == 3:
        side = picture.shape[1]
        part = side // 4 + int(torch.randint(side // 4, (1,), generator=random))
        top, left = torch.randint(side - part + 1, (2,), generator=random).tolist()
        cut = picture[None, :, top : top + part, left : left + part]
        return F.interpolate(cut, (side, side), mode="bilinear", align_corners=False)[0]
    return (picture + other.flip(1)) / 2


def places_of(scenes: Sequence[PlacedScene], cells: int) -> Tensor:
    """Return (B, PLACE, cells, cells): what a `limner.nn.things.Reader` shall say of places."""
    places = torch.zeros(len(scenes), PLACE, cells, cells)
    places[:, 1] = 1.0  # all of a scene is known
    for row, (graph, (right, down)) in enumerate(scenes):
        for box in layout(graph, UNIT):
            across = (box.left + box.side / 2 + right * UNIT) * cells / UNIT
            below = (box.top + box.side / 2 + down * UNIT) * cells / UNIT
            column, line = (min(max(int(each), 0), cells - 1) for each in (across, below))
            values = (1.0, 1.0, across - column, below - line, box.side * cells / UNIT)
            places[row, :, line, column] = torch.tensor(values)
    return places


def crops_of(
    labels: Tensor, places: Tensor, count: int, random: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures (M,), squares (M, 3) and names (M, 3) of at most `count` crops.

    `places` is where things stood before some scenes were made strange; of these the `labels` know
    nothing. A square lies a little aside of its thing, as what is read does.
    """
    of, named, squares = (each[:count] for each in standing(labels, places))
    moved = _ASIDE * (2 * torch.rand(len(of), 3, generator=random) - 1)
    left, top, side = squares.unbind(1)
    larger = side * moved[:, 2]
    aside = torch.stack((left, top), dim=1) + side[:, None] * moved[:, :2] - larger[:, None] / 2
    squares = torch.cat((aside, (side + larger)[:, None]), dim=1)
    return of, squares, torch.where(named[:, :1] == UNASKED, 0, named)


def standing(labels: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of all things which picture they are of (M,), their names and squares (M, 3)."""
    cells = places.shape[-1]
    of, line, column = places[:, 0].nonzero().unbind(1)
    across, below, side = places[of, 2:, line, column].unbind(1)
    squares = torch.stack((column + across - side / 2, line + below - side / 2, side), dim=1)
    return of, labels[of, :3, line, column], squares / cells


def sheets_of(chosen: Sequence[int], frame: int) -> Tensor:
    """Return the sheets (N, 9, frame, frame), uint8, of nouns by number, as a painter learns them.

    Where batches are made, floats would be four times as large, and between what is kept for the
    next ones their memory would not be used again.
    """
    drawn = [_sheet(each, frame) for each in chosen]
    if not drawn:
        return torch.zeros(0, sum(SHEET), frame, frame, dtype=torch.uint8)
    return torch.from_numpy(np.stack(drawn)).movedim(-1, 1).contiguous()


# There are few of either, and each is asked for again and again: tens of megabytes.
@cache
def _sheet(noun: int, frame: int) -> Pixels:
    return (sheet(find_font(), nouns(wide=True)[noun].emoji, frame) * 255 + 0.5).astype(np.uint8)


@cache
def _backdrop(number: int, side: int) -> Pixels:
    return background(backgrounds(wide=True)[number], side)


def tell_colours(painter: Painter) -> None:
    """Tell a painter what the colours' answers look like, and which one each noun has by nature."""
    for number, rgb in enumerate(COLOURS.values(), start=1):
        painter.tints[number] = torch.tensor(rgb) / 255
    own = [1 + COLOUR_NAMES.index(each.colour) for each in nouns(wide=True)]
    painter.natural[1:] = torch.tensor(own)[: len(painter.natural) - 1]
