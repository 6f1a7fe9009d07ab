"""Naming what stands in each cell of a codec's grid: the codes are to say what a thing is.

Pixels alone let a codec give back any shape that is near; a small head that must name noun, colour
and style from the codes asks for the thing itself. The head is used in training alone.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from limner.data.batches.batches import PlacedScene
from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.graph import COLOURLESS, is_wide
from limner.data.scenes.nouns import noun_index, nouns
from limner.data.scenes.scene import UNIT, layout
from limner.data.scenes.sprites import COLOURS, STYLES
from limner.nn.autoencoder import Decoder

COLOUR_NAMES = (*COLOURS, "mixed")
UNASKED = -100  # of no cell: the background behind an object, a silhouette's colour
WIDTH = 256


def answers_of(level: int) -> tuple[int, ...]:
    """Return how many answers each question has in scenes of a level: noun, colour, style, ground.

    The first three have one more, for what has none.
    """
    things, grounds = (len(table(wide=is_wide(level))) for table in (nouns, backgrounds))
    return 1 + things, 1 + len(COLOUR_NAMES), 1 + len(STYLES), grounds


@cache
def background_index() -> dict[str, int]:
    """Return the position of each background, those of the wide world too, by its key."""
    return {key: index for index, key in enumerate(backgrounds(wide=True))}


class CellNames(nn.Module):
    """The decoder's vectors (B, D, h, w) to logits of noun, colour, style and background."""

    def __init__(self, dimensions: int, answers: Sequence[int]) -> None:
        super().__init__()
        self.answers = tuple(answers)
        self.body = nn.Sequential(
            nn.Conv2d(dimensions, WIDTH, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(WIDTH, sum(self.answers), 1),
        )

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return the logits (B, answers, h, w) of each question; number 0 is that nothing stands.

        A cell is asked with its neighbours, because an object's edge alone has no name.
        """
        logits: Tensor = self.body(z)
        return logits.split(self.answers, dim=1)


def keep_named(decoder: Decoder, given: list[Tensor]) -> RemovableHandle:
    """Keep in `given` what a decoder gets, where it has a gradient; return what ends it.

    The hook knows the list alone: one that knew a training step would keep the step, and the
    workers of its data, from being freed.
    """

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # Validation has no gradient, and its vectors are not kept.
        given[:] = inputs[:1] if inputs[0].requires_grad else ()

    return decoder.register_forward_pre_hook(keep)


def naming_loss(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats of the questions, over the cells that they ask.

    `labels` is (B, 4, h, w) as `cell_labels` makes them.
    """
    losses = [
        F.cross_entropy(each.float(), labels[:, number], ignore_index=UNASKED)
        for number, each in enumerate(logits)
        if bool((labels[:, number] != UNASKED).any())
    ]
    return torch.stack(losses).mean()


def named_rightly(logits: Sequence[Tensor], labels: Tensor) -> list[float]:
    """Return the share of cells with an object whose noun, colour and style are named rightly."""
    found = []
    for number, each in enumerate(logits[:3]):
        asked = labels[:, number] > 0
        found.append(float((each.argmax(1) == labels[:, number])[asked].float().mean()))
    return found


def cell_labels(scenes: Sequence[PlacedScene], side: int) -> Tensor:
    """Return int64 (B, 4, side, side): noun, colour, style and background of each cell.

    A cell belongs to the last object painted over its middle. 0 is no object, UNASKED what the cell
    does not show.
    """
    labels = torch.zeros(len(scenes), 4, side, side, dtype=torch.long)
    middles = (torch.arange(side) + 0.5) * UNIT / side  # of cells, in the scene's units
    for row, (graph, (right, down)) in enumerate(scenes):
        labels[row, 3] = background_index()[graph.background]
        style = 1 + STYLES.index(graph.style)
        for box in layout(graph, UNIT):  # in the order of painting: the last is on top
            thing = graph.things[box.thing]
            left, top = box.left + right * UNIT, box.top + down * UNIT
            columns = (middles >= left) & (middles < left + box.side)
            rows = (middles >= top) & (middles < top + box.side)
            colour = 1 + COLOUR_NAMES.index(thing.colour or thing.entry.colour)
            if graph.style in COLOURLESS:
                colour = UNASKED  # a silhouette has none
            values = (1 + noun_index()[thing.noun], colour, style, UNASKED)
            where = rows[:, None] & columns
            labels[row][:, where] = torch.tensor(values)[:, None]
    return labels
