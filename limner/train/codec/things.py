"""The training step of a decoder that reads things from codes and paints them.

Three lessons in one step, each with a right answer that the scenes know: what stands where, how the
ground looks without it, and how each thing looks alone.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.data.batches.batches import graph_at, stream
from limner.errors import ConfigError
from limner.nn.things import ThingsDecoder, find_things
from limner.train.codec.naming import cell_labels, named_rightly, naming_loss
from limner.train.codec.step import CodecStep
from limner.train.codec.things_data import Things, ThingsBatch, places_of
from limner.train.codec.things_settings import ThingsTraining
from limner.train.config.run import TrainConfig
from limner.train.inputs.own import OwnData
from limner.train.losses import pixel_loss

_PRESENCE = 8.0  # weight of finding middles: few cells have one
_PLACING = 0.5  # weight of places beside names
_PAINTING = 4.0  # weight of pixels beside names: a drawing's error is far below a nat


class ThingsStep(CodecStep):
    """Reading, grounds and drawings; codes stay as they are, and so does the encoder."""

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config, data)
        decoder = self.codec.decoder
        if not isinstance(decoder, ThingsDecoder):
            raise ConfigError("this codec's decoder reads no things; give codec.things")
        self.decoder: ThingsDecoder = decoder
        # The small picture stays as it is: it is what people's own pictures are drawn by.
        self.codec.requires_grad_(False)
        self.taught = nn.ModuleList([decoder.reader, decoder.painter, decoder.grounds])
        self.taught.requires_grad_(True)
        self.lessons = config.settings(ThingsTraining)

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
        decoder = self.decoder
        for _, _ in self.parts(1):
            # 1. What stands where.
            with torch.no_grad():
                cells = decoder.cells(self.codec.embed(self._codes(batch.pictures, step)))
            tokens, names, places = decoder.reader(cells)
            naming = naming_loss(names, batch.labels[:, : len(names)])
            placing = placing_loss(places, batch.places)
            told = named_rightly(names, batch.labels)
            numbers |= dict(zip(("noun", "colour", "style"), told, strict=True))
            numbers |= {"naming": float(naming.detach()), "placing": float(placing.detach())}
            # 2. The grounds.
            ground = tokens.new_zeros(())
            if len(batch.rows):
                painted = decoder.ground(cells[batch.rows], tokens[batch.rows])
                ground = pixel_loss(painted.float(), batch.grounds)
            # 3. Things alone, from their true names.
            drawn = decoder.painter(batch.names).float()
            drawing = pixel_loss(2 * drawn, 2 * batch.drawings)
            numbers |= {"ground": float(ground.detach()), "drawing": float(drawing.detach())}
            yield naming + _PLACING * placing + _PAINTING * (ground + drawing)

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
            (graph_at("validation", index, data.seed, data.level), (0.0, 0.0))
            for index in range(data.held_for_validation)
        ]
        side, right, read, there = self.codec.grid[0], [0.0] * 3, 0, 0
        labels, places = cell_labels(scenes, side), places_of(scenes, side)
        first = 0
        with self.measuring(self.codec):
            for held in self.pictures.held_out(len(scenes)):
                vectors = self.codec.embed(self.codec.encode(held.to(self.device)))
                _, names, where = self.decoder.reader(self.decoder.cells(vectors))
                for row in range(len(held)):
                    true = places[first + row, 0].nonzero().tolist()
                    there += len(true)
                    for thing in find_things([each[row] for each in names], where[row]):
                        middle = (thing.top + thing.side / 2, thing.left + thing.side / 2)
                        line, column = (min(max(int(side * each), 0), side - 1) for each in middle)
                        if [line, column] not in true:
                            continue
                        read += 1
                        wanted = labels[first + row, :3, line, column]
                        for number, answer in enumerate(thing.names):
                            right[number] += int(wanted[number]) in (answer, -100)
                first += len(held)
        found |= {"things_found": read / max(there, 1)}
        shares = (each / max(there, 1) for each in right)
        return found | dict(zip(("nouns", "colours", "styles"), shares, strict=True))


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
