"""The pictures that a codec's run sees: emoji scenes, or pictures of one's own."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from limner.data.batches.batches import PictureBatches, picture_batch, stream, to_floats
from limner.data.batches.picture_store import (
    MEMORY_LIMIT,
    Bad,
    PictureStore,
    StoreBatches,
    note_bad,
    open_picture_store,
)
from limner.data.sources.base import IndexedSource, Source
from limner.nn.ranks import world
from limner.text.tokenizer import Tokenizer
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import captioned_scenes
from limner.train.inputs.own import OwnData

AT_ONCE = 64  # pictures measured together


class ScenePictures:
    """Emoji scenes, drawn as they are asked for."""

    def __init__(self, config: TrainConfig, size: int) -> None:
        self.config, self.size = config, size
        self.made_of: dict[str, str] = {}

    def batches(self, step: int) -> Iterator[Tensor]:
        """Yield the batches of training from `step` on."""
        data, loop = self.config.data, self.config.loop
        dataset = PictureBatches(
            loop.batch,
            size=self.size,
            seed=data.seed,
            level=data.level,
            jitter=data.jitter,
            world=world(),
        )
        return stream(dataset, range(step, loop.steps), data.workers)

    def held_out(self, count: int) -> Iterator[Tensor]:
        """Yield `count` scenes of held-out combinations."""
        level = self.config.data.level
        for first in range(0, count, AT_ONCE):
            rows = min(AT_ONCE, count - first)
            yield picture_batch("held_out", first, rows, size=self.size, level=level)


def held_out_pairs(
    config: TrainConfig, tokenizer: Tokenizer, text_length: int, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield scenes (B, 3, size, size) of the validation split and the ids (B, T) of a caption."""
    left = config.data.held_for_validation
    source = captioned_scenes(config, "validation", min(AT_ONCE, left), size, captions=1)
    for number in range(-(-left // source.block)):
        images, sentences = source[number]
        yield images[:left], tokenizer.batch(sentences, text_length)[:left]
        left -= source.block


class OwnPictures:
    """Pictures of one's own; those that fit in memory are read once, at the start of the run."""

    def __init__(self, config: TrainConfig, size: int, data: OwnData) -> None:
        self.config, self.data = config, data
        self.first, *others = [source for source in data.sources if source is not None]
        self.validation = others[0] if others else self.first
        whole = open_picture_store(self.first, size)
        whole.hold(config.data.workers, MEMORY_LIMIT)  # copies are found by what they show
        contents = whole.contents()  # before the split: copies go together
        train, held = data.split([each.key for each in whole.samples], contents)
        self.made_of = data.made_of
        self.train, self.held = whole.part(train), whole.part(held)
        if others:
            self.held = open_picture_store(self.validation, size)
            self.held.hold(config.data.workers, MEMORY_LIMIT)
            if whole.pixels is not None and self.held.pixels is not None:
                data.compare(contents, self.held.contents())
        most = config.data.held_for_validation
        self.held = self.held.part(range(min(most, len(self.held))))

    def batches(self, step: int) -> Iterator[Tensor]:
        """Yield the batches of training from `step` on; DataError when more than 1 % is bad."""
        workers, loop = self._begin(step), self.config.loop
        batch = min(loop.batch, len(self.train))  # an adapter may have fewer
        seed, augment = self.config.data.seed, self.config.augment
        dataset = StoreBatches(self.train, batch, seed, augment, world())
        return self._noted(stream(dataset, range(step, loop.steps), workers))

    def held_out(self, count: int) -> Iterator[Tensor]:
        """Yield the first `count` held-out pictures as they are, or all where there are fewer."""
        return (images for images, _ in self._read_held(count))

    def _begin(self, step: int) -> int:
        """Write down what is trained on, read what fits in memory; return how many workers read."""
        workers = self.config.data.workers
        self.data.begin(len(self.train), len(self.held), fresh=step == 0)
        self._note(self.held, self.validation, self.held.hold(workers, MEMORY_LIMIT))
        self._note(self.train, self.first, self.train.hold(workers, MEMORY_LIMIT))
        return workers

    def _read_held(self, count: int) -> Iterator[tuple[Tensor, Sequence[int]]]:
        """Yield held-out pictures with their rows; others stand in for those that are bad."""
        for first in range(0, min(count, len(self.held)), AT_ONCE):
            rows = range(first, min(first + AT_ONCE, count, len(self.held)))
            pictures, used, bad = self.held.read(rows)
            self._note(self.held, self.validation, bad)
            yield to_floats(pictures), used

    def _noted(self, batches: Iterator[tuple[Tensor, list[Bad]]]) -> Iterator[Tensor]:
        for images, bad in batches:
            self._note(self.train, self.first, bad)
            yield images

    def _note(self, store: PictureStore, source: Source, bad: list[Bad]) -> None:
        """List pictures that could not be read; DataError when more than 1 % of a source is bad."""
        before = len(source.losses)
        note_bad(source.losses, store, bad)
        if len(source.losses) == before:
            return
        self.data.list_bad()
        if isinstance(source, IndexedSource):
            # Bad samples that were found on opening are not among the source's pictures.
            lost = sum(each.code == "bad_picture" for each in source.losses.samples)
            source.losses.check(len(source) - lost, source.place)


def pictures_of(
    config: TrainConfig, size: int, data: OwnData | None
) -> ScenePictures | OwnPictures:
    """Return pictures (B, 3, size, size) in [-1, 1]: scenes, or those of one's own.

    `made_of` of either holds hashes of what must be the same to resume.
    """
    return ScenePictures(config, size) if data is None else OwnPictures(config, size, data)
