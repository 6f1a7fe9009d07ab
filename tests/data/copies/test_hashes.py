"""Perceptual hashes and the exact join of near ones, against plain definitions."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from limner.data.copies.hashes import cosines, distance, join, perceptual_hashes, thumbnail
from tests.data.source_files import picture


def brute_force(table: np.ndarray, queries: np.ndarray, near: int) -> list[tuple[int, int]]:
    return [
        (row, column)
        for row, query in enumerate(queries.tolist())
        for column, entry in enumerate(table.tolist())
        if (query ^ entry).bit_count() <= near
    ]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), near=st.sampled_from([0, 3, 10]), bits=st.integers(0, 64))
def test_the_join_finds_what_brute_force_finds(seed: int, near: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 2**64, 12, dtype=np.uint64)
    queries = np.concatenate([table, rng.integers(0, 2**64, 3, dtype=np.uint64)])
    for index in range(len(table)):  # neighbours at every distance up to `bits`
        for bit in rng.permutation(64)[: min(bits, index * 2)]:
            queries[index] ^= np.uint64(1 << int(bit))
    found = [(row, column) for row, column in join(table, queries, near).tolist()]
    assert found == brute_force(table, queries, near)


def test_the_join_of_nothing_and_of_equal_hashes() -> None:
    none = np.empty(0, np.uint64)
    assert join(none, none).shape == (0, 2)
    same = np.full(70, 12345, np.uint64)
    assert len(join(same, same)) == 70 * 70


def test_cosines_are_orthonormal() -> None:
    rows = cosines(64, 8)
    product = rows @ rows.T
    product[0, 0] /= 2  # the zeroth row has no scale of its own
    assert np.allclose(product, np.eye(8), atol=1e-6)


def test_the_mirrored_hash_is_the_hash_of_the_mirror_image() -> None:
    thumbnails = np.stack([thumbnail(picture(seed)) for seed in range(20)])
    mirrored = perceptual_hashes(thumbnails)[1]
    turned = perceptual_hashes(thumbnails[:, :, ::-1])[0]
    assert distance(mirrored, turned).max() <= 2  # signs of numbers near the median may differ


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey": lambda image: image.convert("L").convert("RGB"),
    "half": lambda image: image.resize((60, 48)),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "mirror": ImageOps.mirror,
}


@pytest.mark.parametrize("change", CHANGES)
def test_hashes_stay_near_through_small_changes(change: str) -> None:
    for seed in range(10):
        image = picture(seed, 120, 96)
        changed = CHANGES[change](image)
        first = perceptual_hashes(thumbnail(image)[None])
        second = perceptual_hashes(thumbnail(changed)[None])[change == "mirror"]
        assert distance(first[0], second)[0] <= 6


def test_hashes_of_unlike_pictures_are_far_apart() -> None:
    thumbnails = np.stack([thumbnail(picture(seed)) for seed in range(60)])
    hashes = perceptual_hashes(thumbnails)[0]
    assert len(join(hashes, hashes)) == 60
