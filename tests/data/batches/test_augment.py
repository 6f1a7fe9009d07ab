"""Augmentation alters what it may and never what a caption tells; DiffAugment as published."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limner.data.batches.augment import (
    POLICIES,
    AugmentConfig,
    augment,
    diff_augment,
    diff_cutout,
    diff_translate,
)
from limner.errors import ConfigError, UsageError

OPEN = ["a cat"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int = 6, height: int = 16, width: int = 12) -> Tensor:
    return torch.rand(count, 3, height, width, generator=generator(9)) * 2 - 1


def test_the_default_crops_alone() -> None:
    images = noise(200)
    changed = augment(images, [["a red cat on the left"]] * 200, AugmentConfig(), generator())
    assert changed.shape == images.shape
    assert not torch.equal(changed, images)
    # A ramp shows where the crop lies: at most 10 % is cut off, and nothing is turned round.
    ramp = torch.linspace(-1, 1, 101).expand(200, 3, 101, 101)
    cut = augment(ramp, [OPEN] * 200, AugmentConfig(), generator())
    left, right = cut[:, 0, 50, 0], cut[:, 0, 50, -1]
    assert bool((left >= -1).all() and (right <= 1).all())
    assert bool((right - left >= 2 * 0.9 - 0.03).all())
    assert (right - left).min() < 1.85
    assert left.max() > -0.85 and right.min() < 0.85


def test_flips_leave_captions_with_sides_alone() -> None:
    images = noise(4)
    captions = [OPEN, ["a cat", "left of it a dog"], ["猫在右边"], OPEN]
    flipped = augment(images, captions, AugmentConfig(crop=0, flip=1), generator())
    assert torch.equal(flipped[[0, 3]], images[[0, 3]].flip(3))
    assert torch.equal(flipped[[1, 2]], images[[1, 2]])


def test_a_crop_and_a_flip_are_the_flip_of_the_crop() -> None:
    images, config = noise(), AugmentConfig(crop=0.3)
    plain = augment(images, [OPEN] * 6, config, generator())
    both = augment(images, [OPEN] * 6, AugmentConfig(crop=0.3, flip=1), generator())
    assert torch.allclose(both, plain.flip(3), atol=1e-5)


def test_colour_leaves_captions_with_colours_alone() -> None:
    images = noise(3)
    config = AugmentConfig(crop=0, colour=0.3)
    changed = augment(images, [OPEN, ["a red cat"], ["一只白猫"]], config, generator())
    assert not torch.allclose(changed[0], images[0], atol=0.01)
    assert torch.allclose(changed[1:], images[1:], atol=1e-6)
    assert changed.min() >= -1 and changed.max() <= 1


def test_nothing_switched_on_changes_nothing() -> None:
    assert torch.equal(augment(noise(), [OPEN] * 6, AugmentConfig(crop=0), generator()), noise())


def test_the_same_chance_gives_the_same_pictures_alone_and_with_more_switched_on() -> None:
    first, second = (
        augment(noise(), [["a red cat, left"]] * 6, config, generator(3))
        for config in (AugmentConfig(), AugmentConfig(flip=1, colour=0.5))
    )
    assert torch.allclose(first, second, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    crop=st.floats(0, 0.5), flip=st.floats(0, 1), colour=st.floats(0, 0.5), seed=st.integers(0, 99)
)
def test_pictures_stay_in_range(crop: float, flip: float, colour: float, seed: int) -> None:
    config = AugmentConfig(crop, flip, colour)
    changed = augment(noise(), [OPEN] * 6, config, generator(seed))
    assert bool(torch.isfinite(changed).all())
    assert changed.min() >= -1 and changed.max() <= 1


@pytest.mark.parametrize("wrong", [{"crop": 0.6}, {"flip": -0.1}, {"colour": float("nan")}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is"):
        AugmentConfig(**wrong)


def test_captions_are_needed_for_every_picture() -> None:
    with pytest.raises(UsageError, match="6 pictures have 1 lists"):
        augment(noise(), [OPEN], AugmentConfig(), generator())


def test_diff_augment_is_differentiable_and_repeatable() -> None:
    images = noise().requires_grad_()
    first = diff_augment(images, generator(1))
    assert torch.equal(first, diff_augment(images, generator(1)))
    assert not torch.equal(first, diff_augment(images, generator(2)))
    (gradient,) = torch.autograd.grad(first.sum(), images)
    assert gradient.abs().sum() > 0
    with pytest.raises(UsageError, match="unknown policy 'color'; did you mean 'colour'"):
        diff_augment(images, generator(), ["color"])


def test_diff_colour_is_the_formula_of_the_paper() -> None:
    images = noise()
    chances = torch.rand(3, 6, 1, 1, 1, generator=generator(4))
    for index, image in enumerate(images):
        expected = image + (chances[0, index] - 0.5)
        grey = expected.mean(0)
        expected = (expected - grey) * chances[1, index] * 2 + grey
        expected = (expected - expected.mean()) * (chances[2, index] + 0.5) + expected.mean()
        got = POLICIES["colour"](images, generator(4))[index]
        assert torch.allclose(got, expected, atol=1e-6)


def test_diff_translate_moves_whole_pictures() -> None:
    images = noise(50, 16, 24)
    moved = diff_translate(images, generator())
    offsets = set()
    for image, result in zip(images, moved, strict=True):
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-3, 4)
            if torch.equal(shifted(image, down, right), result)
        ]
        assert len(found) == 1
        offsets.add(found[0])
    assert {down for down, _ in offsets} == set(range(-2, 3))
    assert {right for _, right in offsets} == set(range(-3, 4))


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    result = torch.zeros_like(image)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            y, x = row - down, column - right
            if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
                result[:, row, column] = image[:, y, x]
    return result


def test_diff_cutout_hides_one_rectangle_of_half_each_side() -> None:
    images = torch.ones(200, 3, 16, 12)
    cut = diff_cutout(images, generator())
    assert torch.equal(cut[:, 0], cut[:, 2])
    hidden = cut[:, 0] == 0
    heights, widths = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), heights * widths)  # a rectangle
    assert heights.max() == 8 and widths.max() == 6  # whole within the picture, else cut off
    assert heights.min() == 4 and widths.min() == 3
