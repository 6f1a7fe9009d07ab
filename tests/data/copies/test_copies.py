"""Copies are found through eight kinds of change, and unlike pictures are never called copies."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from limner.data.copies.copies import (
    Likeness,
    Looks,
    as_captioned,
    find_copies,
    find_exact_copies,
    group,
)
from limner.data.copies.hashes import thumbnail
from limner.data.copies.registration import correlate, fit
from limner.data.copies.views import look_up, places, similar, window, windows
from tests.data.source_files import picture

COUNT = 24


def as_jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    x, y = round(image.width * share), round(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": as_jpeg,
    "half": lambda image: image.resize((64, 48)).resize(image.size),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "mirror": ImageOps.mirror,
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "crop 5": lambda image: cropped(image, 0.05),
    "crop 10": lambda image: cropped(image, 0.10),
    "turn": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
}


def looks_of(images: list[Image.Image]) -> Looks:
    looks = Looks()
    for image in images:
        looks.add(image)
    return looks


@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_are_found(change: str) -> None:
    originals = [picture(seed, 128, 96) for seed in range(COUNT)]
    looks = looks_of([*originals, *map(CHANGES[change], originals)])
    found = find_copies(looks)
    right = {(index, COUNT + index) for index in range(COUNT)}
    assert {(each.first, each.second) for each in found} <= right  # never a wrong one
    assert len(found) >= {"crop 10": 22, "turn": 22, "bright": 20}.get(change, COUNT)
    assert all(each.mirrored == (change == "mirror") for each in found)


def test_equal_pixels_are_found_in_any_file_and_named_with_the_first() -> None:
    images = [picture(0), picture(1), picture(0), picture(0)]
    expected = [Likeness(0, 2, "pixels"), Likeness(0, 3, "pixels")]
    assert find_copies(looks_of(images)) == expected
    assert find_exact_copies(looks_of(images)) == expected


def test_another_thing_on_the_same_ground_is_no_copy() -> None:
    ground = picture(0, 128, 128)
    images = []
    for colour, box in (("red", (20, 20, 50, 50)), ("blue", (70, 60, 110, 100))):
        image = ground.copy()
        ImageDraw.Draw(image).ellipse(box, fill=colour)
        images.append(image)
    assert find_copies(looks_of(images)) == []


def test_plain_pictures_are_compared_by_their_pixels_alone() -> None:
    colours = ("red", "red", "blue", "white")
    images = [Image.new("RGB", (32, 32), colour) for colour in colours]
    assert find_copies(looks_of(images)) == [Likeness(0, 1, "pixels")]


def test_sets_of_no_and_of_one_picture() -> None:
    assert find_copies(Looks()) == []
    assert find_copies(looks_of([picture(0)])) == []


def test_looks_grow_and_join_as_lists_do() -> None:
    images = [picture(seed) for seed in range(130)]
    whole, first, second = looks_of(images), looks_of(images[:70]), looks_of(images[70:])
    joined = Looks()
    for each in (first, second):
        joined.extend(each)
    joined.add(picture(999))
    assert len(joined) == len(whole) + 1 == 131
    assert np.array_equal(joined.thumbnails[:130], whole.thumbnails)
    assert np.array_equal(joined.colours[:130], whole.colours)
    assert joined.digests[:130] == whole.digests


def test_captions_have_a_word_in_what_is_a_copy() -> None:
    captions = [["a red cup"], ["a grey cup"], ["A red cup."], ["a cup"], ["a cup on the left"]]
    mirrored = [Likeness(0, 2, "hash", True), Likeness(0, 3, "hash", True)]
    mirrored += [Likeness(4, 4, "hash", True)]
    unsure = [Likeness(*pair, "hash", unsure=True) for pair in ((0, 1), (0, 2), (0, 3))]
    others = [Likeness(0, 1, "pixels"), Likeness(3, 4, "windows")]
    assert as_captioned(mirrored, captions) == mirrored[:1]
    assert as_captioned(mirrored, captions, mirrors=True) == mirrored
    assert as_captioned(unsure, captions) == unsure[1:]
    assert as_captioned(others, captions) == others
    told = [["a grey cup on grey"], ["a red cup on grey"], ["a red cup on a grey tray on grey"]]
    pairs = [Likeness(*pair, "hash", unsure=True) for pair in ((0, 1), (1, 2))]
    assert as_captioned(pairs, told) == pairs[1:]


def test_a_set_where_all_that_is_alike_is_a_copy() -> None:
    image = picture(4, 64, 64)
    (found,) = find_copies(looks_of([image, image.resize((128, 128))]))
    assert (found.first, found.second, found.unsure) == (0, 1, False)


def test_a_picture_is_shown_in_its_colours() -> None:
    image = picture(2, 64, 64)
    apart = np.asarray(looks_of([image]).show(0), int) - np.asarray(image, int)
    assert np.abs(apart).mean() < 8


def test_groups_join_what_is_joined_through_others() -> None:
    pairs = [(3, 5), (0, 4), (5, 1), (4, 6)]
    assert group(8, [Likeness(*pair, "hash") for pair in pairs]) == [[0, 4, 6], [1, 3, 5]]
    assert group(3, []) == []


def test_every_copy_of_a_large_group_is_found() -> None:
    image = picture(3, 128, 128)
    images = [cropped(image, share / 100) for share in range(14)]
    images += [picture(seed, 128, 128) for seed in range(100, 120)]
    assert group(34, find_copies(looks_of(images))) == [list(range(14))]


def test_the_fit_finds_where_a_piece_lies() -> None:
    truth = np.stack([window(0.85, 0.03, -0.02, 3)] * 2)
    wholes = np.stack([thumbnail(picture(seed, 64, 64)) for seed in (1, 2)]).astype(np.float32)
    pieces = look_up(wholes, truth, places(64)).reshape(-1, 64, 64)
    start = np.stack([window(0.92)] * 2)
    found = fit(wholes, pieces, start)
    assert np.abs(found - truth).max() < 0.01
    correlation, worst = correlate(wholes, pieces, found)
    assert correlation.min() > 0.98 and worst.max() < 0.05
    others = pieces[::-1].copy()
    correlation, worst = correlate(wholes, others, fit(wholes, others, start))
    assert correlation.max() < 0.9 and worst.min() > 0.5


def test_windows_are_within_the_picture() -> None:
    corners = np.array([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)], np.float32)
    for each in windows():
        matrix = each.reshape(2, 3)
        mapped = corners @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(mapped).max() <= 0.55  # a turned one may reach a little beyond


def test_likely_pairs_name_the_whole_and_its_piece() -> None:
    image = picture(3, 128, 128)
    looks = looks_of([picture(1), cropped(image, 0.08), image])
    found = {
        (whole, piece) for whole, piece, mirrored, _ in similar(looks.thumbnails, looks.colours)
    }
    assert (2, 1) in found and all(0 not in pair for pair in found)
