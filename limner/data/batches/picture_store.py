"""Pictures of one's own at the size that a model sees: held in memory, or read when asked for.

A picture that cannot be read is listed, never passed over in silence, and the next one stands in
for it, so that the batches of a run are the same however the pictures are held.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import ImageOps
from PIL.Image import Image, Resampling
from torch import Tensor
from torch.utils.data import Dataset

from limner.data.batches.augment import AugmentConfig, augment
from limner.data.batches.batches import stream, to_floats
from limner.data.sources.base import IndexedSource, Losses, Sample, Source, read_pictures
from limner.errors import DataError, ImageError, quote
from limner.nn.ranks import ALONE, World

MEMORY_LIMIT = 2**30  # bytes of pictures that are held
BLOCK = 64  # pictures read together

Bad = tuple[int, str]  # the row of a picture that cannot be read, and why


class PictureStore:
    """Samples in their order, each as (3, size, size) uint8 when it is asked for.

    `pixels` (N, 3, size, size) holds them all, or is None; `bad` says which of these hold nothing.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: int,
        pixels: Tensor | None = None,
        bad: dict[int, str] | None = None,
    ) -> None:
        self.samples, self.size, self.pixels, self.bad = samples, size, pixels, bad or {}

    def __len__(self) -> int:
        return len(self.samples)

    def part(self, rows: Sequence[int]) -> PictureStore:
        """Return the store of some of the pictures."""
        samples = [self.samples[row] for row in rows]
        if self.pixels is None:
            return PictureStore(samples, self.size)
        bad = {new: self.bad[old] for new, old in enumerate(rows) if old in self.bad}
        pixels = self.pixels[torch.tensor(rows, dtype=torch.long)]
        return PictureStore(samples, self.size, pixels, bad)

    def hold(self, workers: int = 0, limit: int = MEMORY_LIMIT) -> list[Bad]:
        """Read all pictures into memory if they take at most `limit` bytes; return the bad ones."""
        if self.pixels is not None or len(self) * 3 * self.size**2 > limit:
            return list(self.bad.items())
        pixels = torch.zeros((len(self), 3, self.size, self.size), dtype=torch.uint8)
        for rows, pictures, bad in self.blocks(workers):
            pixels[rows] = pictures
            self.bad.update(bad)
        self.pixels = pixels
        return list(self.bad.items())

    def blocks(self, workers: int = 0) -> Iterator[tuple[list[int], Tensor, list[Bad]]]:
        """Yield in order the rows that can be read, their pictures, and the bad ones between."""
        yield from stream(_Blocks(self), range(-(-len(self) // BLOCK)), workers)

    def contents(self) -> list[Hashable]:
        """Return for each picture what is equal for equal ones: a hash of its pixels."""
        if self.pixels is not None:
            hashes = map(hash_pixels, self.pixels)
            return [row if row in self.bad else each for row, each in enumerate(hashes)]
        # Of pictures that are not held it is of the bytes of the file, and a file that is alone in
        # its size has no equal: only the others are read.
        counted = Counter(each.size for each in self.samples)
        alone = {size for size, count in counted.items() if size != -1 and count == 1}
        return [
            row if each.size in alone else _hash_of(each, row)
            for row, each in enumerate(self.samples)
        ]

    def at(self, row: int) -> Tensor:
        """Return one picture; raises ImageError when it cannot be read."""
        if row in self.bad:
            raise ImageError(self.bad[row])
        return (
            fitted(self.samples[row].image, self.size) if self.pixels is None else self.pixels[row]
        )

    def read(self, rows: Sequence[int]) -> tuple[Tensor, list[int], list[Bad]]:
        """Return pictures (B, 3, size, size) uint8, the rows they are of, and bad rows met."""
        pictures, used, bad = [], [], dict[int, str]()
        for wanted in rows:
            # The next picture that can be read stands in for a bad one; where none can, a black one
            # does. The batches of a run then have one size, and the caller hears of every bad row.
            for row in (*range(wanted, len(self)), *range(wanted)):
                try:
                    picture = self.at(row)
                    break
                except ImageError as error:
                    bad[row] = str(error)
            else:
                row, picture = wanted, torch.zeros((3, self.size, self.size), dtype=torch.uint8)
            pictures.append(picture)
            used.append(row)
        return torch.stack(pictures), used, list(bad.items())


class _Blocks(Dataset[tuple[list[int], Tensor, list[Bad]]]):
    """A store's pictures by blocks, for worker processes."""

    def __init__(self, store: PictureStore) -> None:
        self.store = store

    def __getitem__(self, block: int) -> tuple[list[int], Tensor, list[Bad]]:
        store, good, pictures, bad = self.store, [], [], []
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(store))):
            try:
                pictures.append(store.at(row))
                good.append(row)
            except ImageError as error:
                bad.append((row, str(error)))
        empty = torch.zeros((0, 3, store.size, store.size), dtype=torch.uint8)
        return good, torch.stack(pictures) if pictures else empty, bad


class StoreBatches(Dataset[tuple[Tensor, list[Bad]]]):
    """Training batches of a store by step; a step's is a pure function of it and the settings."""

    def __init__(
        self,
        store: PictureStore,
        batch: int,
        seed: int,
        config: AugmentConfig,
        world: World = ALONE,
    ) -> None:
        self.store, self.batch, self.seed, self.config = store, batch, seed, config
        self.world = world
        self._epoch, self._order = -1, torch.zeros(0, dtype=torch.long)

    def __getitem__(self, step: int) -> tuple[Tensor, list[Bad]]:
        """Return this rank's pictures (B, 3, size, size) in [-1, 1], altered, and bad rows met."""
        pictures, used, bad = self.store.read(self.rows(step)[self.world.of(self.batch)])
        captions = [self.store.samples[row].captions for row in used]
        generator = generator_of("augment", self.seed, step)
        return augment(to_floats(pictures), captions, self.config, generator, self.world), bad

    def rows(self, step: int) -> list[int]:
        """Return the rows of a step; within an epoch no picture comes twice."""
        # An epoch has as many whole batches as there are; what is over is another part in each.
        epoch, place = divmod(step, len(self.store) // self.batch)
        if epoch != self._epoch:
            generator = generator_of("order", self.seed, epoch)
            self._epoch, self._order = epoch, torch.randperm(len(self.store), generator=generator)
        return self._order[place * self.batch : (place + 1) * self.batch].tolist()


def open_picture_store(source: Source, size: int, limit: int = MEMORY_LIMIT) -> PictureStore:
    """Return all pictures of a source; one that cannot be read at any place is read and held.

    Raises DataError when such a one takes more than `limit` bytes, or loses more than 1 %.
    """
    if isinstance(source, IndexedSource):
        return PictureStore(source, size)
    samples: list[Sample] = []
    pictures: list[Tensor] = []
    most = limit // (3 * size**2)
    for sample, image in read_pictures(source):
        if len(samples) == most:
            raise DataError(
                f"{quote(source.place, 120)} is read in its own order only, and more than {most} "
                f"pictures of {size} pixels do not fit in memory; write it as a folder with "
                "limner data clean --write"
            )
        samples.append(replace(sample, read=partial(bytes, b""), size=-1))
        pictures.append(fitted(image, size))
    return PictureStore(samples, size, torch.stack(pictures))


def _hash_of(sample: Sample, otherwise: int) -> Hashable:
    try:
        return hashlib.sha256(sample.read()).digest()
    except ImageError:
        return otherwise


def note_bad(losses: Losses, store: PictureStore, bad: Sequence[Bad]) -> None:
    """Add a store's bad rows to the losses of its source."""
    for row, reason in bad:
        sample = store.samples[row]
        losses.add(sample.key, sample.where, "bad_picture", reason)


def fitted(image: Image, size: int) -> Tensor:
    """Return the middle square of a picture as (3, size, size) uint8."""
    square = ImageOps.fit(image, (size, size), Resampling.LANCZOS)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def hash_pixels(picture: Tensor) -> str:
    """Return the SHA-256 of a picture (3, size, size) uint8."""
    return hashlib.sha256(picture.contiguous().numpy().tobytes()).hexdigest()


def generator_of(*words: str | int) -> torch.Generator:
    """Return a generator that these words alone decide."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
