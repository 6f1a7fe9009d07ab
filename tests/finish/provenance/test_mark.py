"""The invisible mark is found after what is usual, not where there is none, and hardly seen."""

import io

import numpy
import pytest
from PIL import Image

from limner.finish.provenance.mark import LEAST_SIDE, THRESHOLD, add_mark, mark_score

COLOURS = [(255, 255, 255), (0, 0, 0), (120, 160, 220), (250, 240, 3)]


def scene(size: int = 64, seed: int = 0) -> Image.Image:
    """Return a slope with a disc upon it."""
    chance = numpy.random.default_rng(seed)
    down, across = numpy.mgrid[:size, :size] / size
    pixels = chance.integers(0, 256, 3) * (1 - down[..., None]) + 90 * down[..., None]
    disc = (down - 0.5) ** 2 + (across - chance.random()) ** 2 < 0.05
    pixels[disc] = chance.integers(0, 256, 3)
    return Image.fromarray(pixels.astype(numpy.uint8))


def score(image: Image.Image) -> float:
    found = mark_score(image)
    assert found is not None
    return found


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue()))


def psnr(one: Image.Image, other: Image.Image) -> float:
    apart = numpy.asarray(one, float) - numpy.asarray(other, float)
    return float(10 * numpy.log10(255**2 / (apart**2).mean()))


PICTURES = [Image.new("RGB", (64, 64), each) for each in COLOURS]
PICTURES += [scene(size, seed) for seed, size in enumerate((64, 64, 96, 128, 200, 256))]


@pytest.mark.parametrize("image", PICTURES, ids=lambda image: f"{image.size}")
def test_the_mark_is_found_and_not_seen(image: Image.Image) -> None:
    marked = add_mark(image)
    assert score(image) < THRESHOLD < score(marked)
    assert psnr(image, marked) >= 40
    assert score(jpeg(marked, 75)) > THRESHOLD
    half = marked.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    assert score(half.resize(image.size, Image.Resampling.BICUBIC)) > THRESHOLD
    assert score(marked.convert("L").convert("RGB")) > THRESHOLD


def test_a_mark_outlives_another_size() -> None:
    marked = add_mark(scene(256))
    for side in (96, 128, 300):
        assert score(marked.resize((side, side), Image.Resampling.LANCZOS)) > THRESHOLD


def test_a_picture_need_not_be_square() -> None:
    wide = scene(256).crop((0, 0, 256, 100))
    assert score(wide) < THRESHOLD < score(add_mark(wide))


def test_the_same_picture_gets_the_same_mark_and_is_left_as_it_is() -> None:
    image = scene()
    before = image.tobytes()
    assert add_mark(image).tobytes() == add_mark(image).tobytes() != before
    assert image.tobytes() == before


def test_a_picture_that_is_too_small_is_left_alone() -> None:
    small = scene(LEAST_SIDE - 1)
    assert add_mark(small).tobytes() == small.tobytes() and mark_score(small) is None
    assert mark_score(add_mark(scene(LEAST_SIDE))) is not None


def test_chance_stays_below_the_threshold() -> None:
    """No search for a rate, which benchmarks/mark.py has: only that scores are as of chance."""
    scores = [score(scene(64, seed)) for seed in range(100, 300)]
    assert max(scores) < 4 and abs(numpy.mean(scores)) < 1


@pytest.mark.parametrize("colour", [*COLOURS, (128, 128, 128)])
def test_on_plain_ground_of_256_pixels_the_mark_is_a_shade_or_two(
    colour: tuple[int, int, int],
) -> None:
    image = Image.new("RGB", (256, 256), colour)
    marked = add_mark(image)
    change = numpy.asarray(marked, int) - numpy.asarray(image, int)
    # At white and black one half of the changes is cut off, and the other takes its part.
    assert numpy.abs(change).max() <= (1 if min(colour) >= 5 and max(colour) <= 250 else 3)
    assert psnr(image, marked) > 50 and score(jpeg(marked, 75)) > THRESHOLD
