"""Pictures held in memory and pictures read anew make the same batches, good and bad ones alike."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.data.batches.augment import AugmentConfig
from limner.data.batches.batches import stream
from limner.data.batches.picture_store import (
    Bad,
    PictureStore,
    StoreBatches,
    fitted,
    note_bad,
    open_picture_store,
)
from limner.data.sources.base import IndexedSource, Source
from limner.data.sources.opening import open_source
from limner.errors import DataError
from tests.data.source_files import picture, write_image_folder, write_pairs

ALTERED = AugmentConfig(crop=0.3, flip=0.5, colour=0.3)


@pytest.fixture
def source(tmp_path: Path) -> IndexedSource:
    write_pairs(tmp_path / "a", 11)
    found = open_source(tmp_path / "a")
    assert isinstance(found, IndexedSource)
    return found


def spoil(source: Source, *names: str) -> None:
    for name in names:
        path = Path(source.place) / name
        path.write_bytes(b"x" * path.stat().st_size)


def batches(store: PictureStore, steps: range, workers: int = 0) -> list[tuple[Tensor, list[Bad]]]:
    return list(stream(StoreBatches(store, 4, 3, ALTERED), steps, workers))


def same(first: list[tuple[Tensor, list[Bad]]], second: list[tuple[Tensor, list[Bad]]]) -> bool:
    return all(torch.equal(a, b) for (a, _), (b, _) in zip(first, second, strict=True))


def test_a_picture_is_its_middle_square() -> None:
    image = picture(0, 40, 20)
    square = fitted(image, 20)
    assert square.shape == (3, 20, 20) and square.dtype == torch.uint8
    assert torch.equal(square, fitted(image.crop((10, 0, 30, 20)), 20))


@pytest.mark.parametrize("bad", [[], ["000.png", "001.png", "010.png"]])
def test_batches_do_not_know_where_pictures_are_kept(source: IndexedSource, bad: list[str]) -> None:
    spoil(source, *bad)
    read, held = PictureStore(source, 16), PictureStore(source, 16)
    told = held.hold()
    assert held.pixels is not None and {row for row, _ in told} == {int(n[:3]) for n in bad}
    once = batches(read, range(6))
    assert same(once, batches(held, range(6)))
    assert same(once[2:], batches(read, range(2, 6), workers=2))
    assert same(once[3:], batches(held, range(3, 6), workers=2))
    met = {row for _, rows in once for row, _ in rows}
    assert met == {row for row, _ in told}
    assert all(images.abs().max() <= 1 for images, _ in once)
    assert all(len({image.numpy().tobytes() for image in images}) >= 2 for images, _ in once)


def test_what_does_not_fit_in_memory_is_read_when_asked_for(source: IndexedSource) -> None:
    store = PictureStore(source, 16)
    store.hold(limit=11 * 3 * 16 * 16 - 1)
    assert store.pixels is None
    store.hold(limit=11 * 3 * 16 * 16)
    assert store.pixels is not None and torch.equal(store.pixels[5], fitted(source[5].image, 16))


def test_an_epoch_has_each_picture_once_at_most_and_orders_differ(source: IndexedSource) -> None:
    dataset = StoreBatches(PictureStore(source, 16), 4, 0, AugmentConfig())
    epochs = [[row for step in (2 * e, 2 * e + 1) for row in dataset.rows(step)] for e in range(40)]
    assert all(len(set(rows)) == 8 for rows in epochs)
    assert len({tuple(rows) for rows in epochs}) > 30
    assert {row for rows in epochs for row in rows} == set(range(11))
    again = StoreBatches(PictureStore(source, 16), 4, 0, AugmentConfig())
    assert again.rows(7) == epochs[3][4:]


def test_no_caption_with_sides_is_mirrored(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", 2)
    (tmp_path / "a" / "000.txt").write_text("a cat and a dog")
    (tmp_path / "a" / "001.txt").write_text("a cat left of a dog")
    source = open_source(tmp_path / "a")
    store = open_picture_store(source, 16)
    flipped = StoreBatches(store, 2, 0, AugmentConfig(crop=0, flip=1))
    images, _ = flipped[0]
    plain = {row: store.at(row).float() / 127.5 - 1 for row in (0, 1)}
    for image, row in zip(images, flipped.rows(0), strict=True):
        wanted = plain[row].flip(2) if row == 0 else plain[row]
        assert torch.equal(image, wanted)


def test_a_shelf_without_one_good_picture_is_black_and_says_so(source: IndexedSource) -> None:
    spoil(source, *(f"{index:03d}.png" for index in range(11)))
    store = PictureStore(source, 16)
    pictures, _, bad = store.read([3, 4])
    assert not pictures.any() and {row for row, _ in bad} == set(range(11))
    note_bad(source.losses, store, bad)
    assert source.losses.counts() == {"bad_picture": 11}


class InOrder(Source):
    """A source that can only be read in its order, as one behind http."""

    kind = "webdataset"

    def __init__(self, inner: IndexedSource) -> None:
        super().__init__(inner.place, inner.losses, inner.fingerprint, None)
        self.inner = inner

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.inner)


def test_a_source_that_is_read_in_order_is_held(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a", 5)
    inner = open_source(tmp_path / "a")
    assert isinstance(inner, IndexedSource)
    held, read = open_picture_store(InOrder(inner), 16), PictureStore(inner, 16)
    assert torch.equal(held.read(range(5))[0], read.read(range(5))[0])
    assert [each.captions for each in held.samples] == [each.captions for each in inner]
    with pytest.raises(DataError, match="more than 4 pictures of 16 pixels do not fit"):
        open_picture_store(InOrder(inner), 16, limit=4 * 3 * 16 * 16)


def test_contents_are_equal_for_equal_pictures(tmp_path: Path) -> None:
    write_pairs(tmp_path, 4)
    (tmp_path / "001.png").write_bytes((tmp_path / "003.png").read_bytes())
    with Image.open(tmp_path / "000.png") as image:
        image.save(tmp_path / "002.png", compress_level=1)  # the same pixels in other bytes
    store = open_picture_store(open_source(tmp_path), 16)
    read = store.contents()
    store.hold()
    held = store.contents()
    assert read[1] == read[3] and len(set(read)) == 3
    assert held[1] == held[3] and held[0] == held[2] and len(set(held)) == 2


def test_a_part_keeps_what_was_read(source: IndexedSource) -> None:
    spoil(source, "007.png")
    store = PictureStore(source, 16)
    store.hold()
    part = store.part([7, 2])
    assert part.pixels is not None and list(part.bad) == [0]
    assert torch.equal(part.at(1), store.at(2)) and part.samples[0].key == "007.png"
