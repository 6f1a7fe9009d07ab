"""Batches for a decoder of things: scenes with what stands where, grounds, and things alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from limner.data.batches.batches import PlacedScene, pixels_to_tensor, scene_batch, step_generator
from limner.data.scenes.backgrounds import background
from limner.data.scenes.graph import COLOURLESS
from limner.data.scenes.nouns import nouns
from limner.data.scenes.scene import UNIT, layout, paint, render
from limner.data.scenes.sprites import STYLES, find_font, sprite
from limner.nn.things import PLACE
from limner.train.codec.naming import COLOUR_NAMES, UNASKED, cell_labels
from limner.train.codec.things_settings import ThingsTraining


class ThingsBatch(NamedTuple):
    """Scenes (B, 3, s, s) of a small size s, and what is to be read and painted of them.

    `labels` (B, 4, h, w) name cells, `places` (B, PLACE, h, w) are 1 where a thing's middle is, and
    where and how large it is; `grounds` (G, 3, S, S) are of the first scenes. `names` (N, 3) and
    `drawings` (N, 4, F, F) are of things alone, RGB times alpha and alpha in [0, 1].
    """

    pictures: Tensor
    labels: Tensor
    places: Tensor
    grounds: Tensor
    names: Tensor
    drawings: Tensor


class Things(Dataset[ThingsBatch]):
    """Training batches by step, for a DataLoader: item `step` is a pure function of the config."""

    def __init__(
        self, batch: int, weights: ThingsTraining, cells: int, sizes: tuple[int, int], **look: Any
    ) -> None:
        self.batch, self.weights, self.cells = batch, weights, cells
        (self.large, self.frame), self.look = sizes, look

    def __getitem__(self, step: int) -> ThingsBatch:
        """Return what is learnt in one step."""
        pictures, scenes = scene_batch("train", step * self.batch, self.batch, **self.look)
        labels, places = cell_labels(scenes, self.cells), places_of(scenes, self.cells)
        chance = torch.rand(len(scenes), generator=step_generator(self.look["seed"], step))
        grounds = []
        for row, (graph, _) in enumerate(scenes[: self.weights.grounds]):
            if chance[row] >= self.weights.turned:
                pixels = torch.from_numpy(background(graph.background, self.large).copy())
            else:  # on its side: nothing that is known stands in it
                pixels = torch.from_numpy(render(graph, self.large)).transpose(0, 1)
                pictures[row] = pictures[row].transpose(1, 2).clone()
                labels[row] = UNASKED
                places[row] = 0
            grounds.append(pixels_to_tensor(pixels.numpy()))
        names, drawings = things_of(scenes, self.weights.drawings, self.frame)
        return ThingsBatch(pictures, labels, places, torch.stack(grounds), names, drawings)


def places_of(scenes: Sequence[PlacedScene], cells: int) -> Tensor:
    """Return (B, PLACE, cells, cells): 1, right, down and side, in cells, at things' middles."""
    places = torch.zeros(len(scenes), PLACE, cells, cells)
    for row, (graph, (right, down)) in enumerate(scenes):
        for box in layout(graph, UNIT):
            across = (box.left + box.side / 2 + right * UNIT) * cells / UNIT
            below = (box.top + box.side / 2 + down * UNIT) * cells / UNIT
            column, line = (min(max(int(each), 0), cells - 1) for each in (across, below))
            values = (1.0, across - column, below - line, box.side * cells / UNIT)
            places[row, :, line, column] = torch.tensor(values)
    return places


def things_of(scenes: Sequence[PlacedScene], count: int, frame: int) -> tuple[Tensor, Tensor]:
    """Return names (N, 3) and drawings (N, 4, frame, frame) of at most `count` things of scenes."""
    font, names, drawings = find_font(), [], []
    for graph, _ in scenes:
        for thing in graph.things:
            entry = thing.entry
            colour = COLOUR_NAMES.index(thing.colour or entry.colour)
            if graph.style in COLOURLESS:
                colour = -1  # it shows none
            names.append((1 + nouns().index(entry), 1 + colour, 1 + STYLES.index(graph.style)))
            drawn = sprite(font, entry.emoji, paint(thing), graph.style, frame)
            drawings.append(torch.from_numpy(drawn.copy()).movedim(-1, 0))
            if len(names) == count:
                return torch.tensor(names), torch.stack(drawings).float() / 255
    return torch.tensor(names), torch.stack(drawings).float() / 255
