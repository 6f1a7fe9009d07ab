"""The training step of a decoder that reads things from codes and paints them.

Three lessons in one step, each with a right answer that the scenes know: what stands where, how the
ground looks without it, and how each thing looks alone.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.data.batches.batches import graph_at, stream
from limner.errors import ConfigError
from limner.nn.things import Thing, ThingsDecoder
from limner.train.codec.naming import UNASKED, cell_labels, naming_loss
from limner.train.codec.step import CodecStep
from limner.train.codec.things_data import (
    Things,
    ThingsBatch,
    places_of,
    standing,
    tell_colours,
)
from limner.train.codec.things_settings import ThingsTraining
from limner.train.config.run import TrainConfig
from limner.train.inputs.own import OwnData
from limner.train.losses import pixel_loss
from limner.train.steps import precision

_PRESENCE = 8.0  # weight of finding middles: few cells have one
_PLACING = 0.5  # weight of places beside names
_PAINTING = 4.0  # weight of pixels beside names: a drawing's error is far below a nat


class ThingsStep(CodecStep):
    """What reads, names and paints things; the codes and the small pictures stay as they are."""

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config, data)
        decoder = self.codec.decoder
        if not isinstance(decoder, ThingsDecoder):
            raise ConfigError("this codec's decoder reads no things; give codec.things")
        self.decoder: ThingsDecoder = decoder
        tell_colours(decoder.painter)
        # The small picture stays as it is: it is what people's own pictures are drawn by.
        self.codec.requires_grad_(False)
        self.lessons = lessons = config.settings(ThingsTraining)
        taught = {
            decoder.reader: lessons.reading,
            decoder.backdrops: lessons.grounds,
            decoder.namer: lessons.crops,
            decoder.painter: lessons.drawings,
        }
        for part, asked in taught.items():
            part.requires_grad_(bool(asked))

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        data, loop = self.config.data, self.config.loop
        look = {"size": self.codec.config.seen, "jitter": data.jitter}
        look |= {"seed": data.seed, "level": data.level}
        sizes = self.codec.config.size, self.decoder.painter.side
        batches = Things(loop.batch, self.lessons, self.codec.grid[0], sizes, **look)
        self.batches = stream(batches, range(step, loop.steps), data.workers)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the decoder once."""
        batch = ThingsBatch(*(each.to(self.device) for each in next(self.batches)))
        numbers: dict[str, float] = {}
        return self.update(self._lessons(batch, step, numbers), step) | numbers

    def _lessons(
        self, batch: ThingsBatch, step: int, numbers: dict[str, float]
    ) -> Iterator[Tensor]:
        """Yield the loss of each lesson."""
        lessons, decoder = self.lessons, self.decoder
        if lessons.reading or lessons.crops:
            with torch.no_grad():
                cells = decoder.cells(self.codec.embed(self._codes(batch.pictures, step)))
        with precision(self.config):
            loss = batch.pictures.new_zeros(())
            if lessons.reading:
                loss = loss + self._reading(batch, cells, numbers)
            if lessons.crops:
                loss = loss + self._crops(batch, cells, numbers)
            if lessons.drawings:
                sheets = decoder.painter.sheets(batch.nouns).float()
                wanted = batch.sheets.float() / 255
                loss = loss + self._pixels("drawing", 2 * sheets, 2 * wanted, numbers)
            if lessons.grounds:
                painted = decoder.backdrops(batch.backdrops).float()
                wanted, detail = batch.grounds, lessons.detail
                loss = loss + self._pixels("ground", painted, wanted, numbers, detail)
            yield loss

    def _reading(self, batch: ThingsBatch, cells: Tensor, numbers: dict[str, float]) -> Tensor:
        """Return the loss of what stands where, and before which backdrop."""
        _, names, places = self.decoder.reader(cells)
        naming = naming_loss(names, batch.labels)
        placing = placing_loss(places, batch.places)
        asked = batch.labels[:, 3] != UNASKED
        right = (names[3].argmax(1) == batch.labels[:, 3])[asked].float().mean()
        numbers |= {"naming": float(naming.detach()), "placing": float(placing.detach())}
        numbers["backdrop"] = float(right)
        return naming + _PLACING * placing

    def _pixels(
        self,
        name: str,
        drawn: Tensor,
        wanted: Tensor,
        numbers: dict[str, float],
        detail: float = 0.0,
    ) -> Tensor:
        """Return the loss of pixels, as it weighs beside names."""
        loss = pixel_loss(drawn, wanted, detail)
        numbers[name] = float(loss.detach())
        return _PAINTING * loss

    def _crops(self, batch: ThingsBatch, cells: Tensor, numbers: dict[str, float]) -> Tensor:
        """Return the loss of naming what is cut out of small pictures."""
        namer = self.decoder.namer
        with torch.no_grad():
            parts = namer.cut(self.decoder.small(cells), batch.of, batch.squares)
        said = namer(parts)
        wanted = batch.named.unbind(1)
        losses = [F.cross_entropy(each.float(), true, ignore_index=UNASKED)
                  for each, true in zip(said, wanted, strict=True)]  # fmt: skip
        for name, each, true in zip(("noun", "colour", "style"), said, wanted, strict=True):
            numbers[name] = float((each.argmax(1) == true)[true > 0].float().mean())
        return torch.stack(losses).sum()

    def _codes(self, pictures: Tensor, step: int) -> Tensor:
        """Return the codes of small pictures, a few of which were replaced."""
        large = F.interpolate(pictures, scale_factor=self.codec.config.factor)  # it shrinks again
        codes: Tensor = self.codec.encode(large)
        random = self.random(step)
        wrong = torch.rand(codes.shape, generator=random) < self.lessons.noise
        wrong[::2] = False
        other = torch.randint(self.codec.vocabulary, codes.shape, generator=random)
        return torch.where(wrong.to(codes.device), other.to(codes.device), codes)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return what a codec's validation does, and how well things are read."""
        found, data = super().validate(), self.config.data
        scenes = [
            (graph_at("held_out", index, level=data.level), (0.0, 0.0))
            for index in range(data.held_for_validation)
        ]
        side = self.codec.grid[0]
        of, names, squares = standing(cell_labels(scenes, side), places_of(scenes, side))
        counts, first = torch.zeros(4), 0
        with self.measuring(self.codec):
            for held in self.pictures.held_out(len(scenes)):
                codes = self.codec.encode(held.to(self.device))
                cells = self.decoder.cells(self.codec.embed(codes))
                small, (_, said, places) = self.decoder.small(cells), self.decoder.reader(cells)
                grounds = self.decoder.grounds(said, small)
                for row, things in enumerate(self.decoder.things(places, small, grounds)):
                    here = of == first + row
                    counts += read_rightly(things, names[here], squares[here], 0.5 / side)
                first += len(held)
        shares = (counts / max(len(of), 1)).tolist()
        return found | dict(zip(("things", "nouns", "colours", "styles"), shares, strict=True))


def read_rightly(things: Sequence[Thing], names: Tensor, squares: Tensor, within: float) -> Tensor:
    """Return how many of the true things (M, 3) were found, and how many named in each way (4,).

    One is found where left, top and side are less than `within` from its square's (M, 3).
    """
    counts = torch.zeros(4)
    for wanted, square in zip(names.tolist(), squares.tolist(), strict=True):
        for thing in things:
            apart = (abs(ours - true) for ours, true in zip(thing.square, square, strict=True))
            if max(apart) < within:
                right = [
                    true in (ours, UNASKED) for ours, true in zip(thing.names, wanted, strict=True)
                ]
                counts += torch.tensor([True, *right])
                break
    return counts


def placing_loss(places: Tensor, wanted: Tensor) -> Tensor:
    """Return how wrong it is which cells hold a thing's middle, are known, and where things are."""
    there = wanted[:, 0] > 0
    presence, known = (
        F.binary_cross_entropy_with_logits(places[:, number].float(), wanted[:, number])
        for number in (0, 1)
    )
    loss = _PRESENCE * presence + known
    if not bool(there.any()):
        return loss
    error = (places[:, 2:].float() - wanted[:, 2:]).abs().movedim(1, -1)[there]
    return loss + error.mean()
