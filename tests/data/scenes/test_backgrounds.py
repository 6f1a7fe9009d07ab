"""Backgrounds: each key paints its own picture, and nobody can paint over it."""

import numpy as np
import pytest

from limner.data.scenes.backgrounds import (
    BACKGROUNDS,
    PATTERNS,
    PLACES,
    PLACES_LATER,
    TINTS,
    background,
    backgrounds,
)

ALL = backgrounds(wide=True)


@pytest.mark.parametrize("key", ALL)
def test_every_background_can_be_painted(key: str) -> None:
    for side in (32, 64):
        pixels = background(key, side)
        assert pixels.shape == (side, side, 3) and pixels.dtype == np.uint8
    pattern, _, tint = key.partition(":")
    assert pattern in (PATTERNS if tint else (*PLACES, *PLACES_LATER))


def test_keys_and_pictures_are_all_different() -> None:
    assert len(set(ALL)) == len(ALL)
    assert len({background(key, 64).tobytes() for key in ALL}) == len(ALL)


def test_places_of_the_wide_world_follow_the_first() -> None:
    """Models know backgrounds by number."""
    assert backgrounds() == BACKGROUNDS == ALL[:43] and ALL[43:] == PLACES_LATER
    for key in PLACES_LATER:
        if key.endswith(" at night"):
            day = background(key.removesuffix(" at night"), 64)
            assert background(key, 64).mean() < 0.7 * day.mean()


@pytest.mark.parametrize("tint", TINTS)
def test_plain_is_plain(tint: str) -> None:
    assert (background(f"plain:{tint}", 32) == TINTS[tint]).all()


def test_patterns_hold_their_tint_and_white() -> None:
    for key in BACKGROUNDS:
        pattern, _, tint = key.partition(":")
        if pattern in ("striped", "dotted", "checkered"):
            pixels = background(key, 64).reshape(-1, 3)
            share = (np.abs(pixels.astype(int) - TINTS[tint]).max(-1) < 6).mean()
            white = (pixels > 245).all(-1).mean()
            assert 0.15 < share < 0.55 and white > 0.4, (key, share, white)


def test_gradients_fade_downwards_to_white() -> None:
    pixels = background("gradient:blue", 64).astype(int)
    assert np.abs(pixels[0, 0] - TINTS["blue"]).max() < 4 and (pixels[-1] > 245).all()
    assert (np.diff(pixels.sum(-1), axis=0) >= 0).all()


def test_one_picture_at_every_size() -> None:
    for key in ALL:
        small, large = background(key, 32).astype(float), background(key, 64).astype(float)
        halved = large.reshape(32, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(halved - small).mean() < 6, key


def test_a_background_is_shared_and_so_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        background("snow", 32)[0, 0] = 0
