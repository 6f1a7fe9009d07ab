"""How well the invisible mark is found, how little it changes, and how seldom it is found in vain.

python benchmarks/mark.py [--drawn 300] [--unmarked 30000] [--sheet FILE]

Marked are pictures drawn by the embedded model (256 pixels), scenes as its training pictures were
made (64, 128 and 256 pixels), and photographs of scikit-image (64, 128 and 256). Each is saved as
PNG, JPEG and WebP, halved and doubled in size and brought back, made lighter and darker, cropped
and mirrored; printed is how often the mark is still found, with a 95 % interval. Unmarked are drawn
pictures, scenes and crops of photographs, each in ten views too (moved, turned, mirrored, lighter
or darker, some as JPEG), and plain and noisy grounds. Views of a picture, and crops of the few
photographs, are not independent of one another, so that the interval is rather too narrow.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy
from PIL import Image, ImageEnhance

import limner
from limner.data.scenes.scene import scene
from limner.evaluate.resampling import wilson
from limner.finish.provenance.mark import THRESHOLD, add_mark, mark_score
from limner.images import grid

PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "rocket", "cat", "brick", "grass", "gravel")
SIZES = (64, 128, 256)
Change = Callable[[Image.Image], Image.Image]


def saved(kind: str, quality: int) -> Change:
    """Return how a picture is after it was saved in a lossy format and opened again."""

    def change(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=quality)
        return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")

    return change


def resized(factor: float, way: Image.Resampling, *, back: bool = True) -> Change:
    """Return how a picture is after its size was changed, and changed back."""

    def change(image: Image.Image) -> Image.Image:
        other = image.resize((round(image.width * factor), round(image.height * factor)), way)
        return other.resize(image.size, way) if back else other

    return change


def cropped(share: float) -> Change:
    """Return how a picture is without a share of each edge."""

    def change(image: Image.Image) -> Image.Image:
        edge = max(1, round(share * image.width))
        return image.crop((edge, edge, image.width - edge, image.height - edge))

    return change


WAYS = Image.Resampling
CHANGES: dict[str, Change] = {
    "PNG": lambda image: image,
    "JPEG 95": saved("JPEG", 95),
    "JPEG 75": saved("JPEG", 75),
    "JPEG 50": saved("JPEG", 50),
    "WebP 80": saved("WEBP", 80),
    "half and back, bicubic": resized(0.5, WAYS.BICUBIC),
    "half and back, bilinear": resized(0.5, WAYS.BILINEAR),
    "half and back, Lanczos": resized(0.5, WAYS.LANCZOS),
    "half, not back": resized(0.5, WAYS.BICUBIC, back=False),
    "twice as large": resized(2, WAYS.BICUBIC, back=False),
    "20 % lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "20 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "cropped by 2 %": cropped(0.02),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def drawn(count: int, first: int = 0) -> list[Image.Image]:
    """Return pictures of the embedded model, of captions of scenes never seen in training."""
    model = limner.load("default")
    captions = [scene("held_out", first + index).english for index in range(count)]
    return [model.draw(caption, seed=first + at)[0].image for at, caption in enumerate(captions)]


def scenes(count: int, size: int, first: int = 0) -> Iterator[Image.Image]:
    """Yield scenes as the training pictures were made."""
    for index in range(first, first + count):
        yield Image.fromarray(scene("train", index, size=size).image)


def photographs() -> list[Image.Image]:
    """Return the photographs of scikit-image, as RGB."""
    from skimage import data

    return [Image.fromarray(getattr(data, name)()).convert("RGB") for name in PHOTOS]


def crops(count: int, size: int, seed: int = 0) -> Iterator[Image.Image]:
    """Yield square parts of photographs of any size and place, some mirrored, at one size."""
    chance, found = numpy.random.default_rng(seed), photographs()
    for number in range(count):
        photo = found[number % len(found)]
        side = int(chance.integers(min(size, *photo.size), min(photo.size) + 1))
        left, top = (int(chance.integers(0, each - side + 1)) for each in photo.size)
        part = photo.crop((left, top, left + side, top + side)).resize((size, size), WAYS.LANCZOS)
        yield part if chance.random() < 0.5 else part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def grounds(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Yield plain grounds, slopes and noise in any colours."""
    chance = numpy.random.default_rng(seed)
    for _ in range(count):
        ends = chance.integers(0, 256, (2, 3))
        slope = numpy.linspace(0, 1, 64)[:, None, None] * numpy.ones((1, 64, 1))
        if chance.random() < 0.5:
            slope = slope.transpose(1, 0, 2)
        pixels = ends[0] + (ends[1] - ends[0]) * slope * (chance.random() < 0.7)
        pixels = pixels + chance.normal(0, 1, (64, 64, 1)) * chance.choice([0, 1, 4, 30])
        yield Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8))


def views(image: Image.Image, count: int, seed: int) -> Iterator[Image.Image]:
    """Yield a picture moved, mirrored and lighter or darker by chance, some of them as JPEG.

    The mark has places of its own, so that each view meets it anew.
    """
    chance = numpy.random.default_rng(seed)
    for _ in range(count):
        pixels = numpy.roll(numpy.asarray(image), chance.integers(0, image.width, 2), (0, 1))
        turned = numpy.rot90(pixels, int(chance.integers(4)))
        turned = turned[:, ::-1] if chance.random() < 0.5 else turned
        view = Image.fromarray(numpy.ascontiguousarray(turned))
        view = ImageEnhance.Brightness(view).enhance(float(chance.uniform(0.6, 1.4)))
        yield saved("JPEG", 75)(view) if chance.random() < 0.3 else view


def unmarked(count: int, some: Sequence[Image.Image]) -> Iterator[Image.Image]:
    """Yield about `count` pictures without a mark: each as it is and in many views."""
    left = max(0, count - len(some) * 11)
    bases = [*some, *crops(left // 30, 64), *crops(left // 120, 128)]
    bases += [*scenes(left // 60, 64, 1_000_000), *scenes(left // 120, 128, 2_000_000)]
    for number, base in enumerate(bases):
        yield base
        yield from views(base, 10, number)
    yield from grounds(max(0, count - 11 * len(bases)))


def psnr(before: Image.Image, after: Image.Image) -> float:
    """Return how near two pictures are, in dB."""
    apart = numpy.asarray(before, float) - numpy.asarray(after, float)
    return float(10 * numpy.log10(255**2 / max((apart**2).mean(), 1e-9)))


def found(image: Image.Image) -> bool:
    """Say whether the mark is found."""
    score = mark_score(image)
    return score is not None and score >= THRESHOLD


def measure(name: str, pictures: Sequence[Image.Image]) -> None:
    """Print how often the mark of some pictures is found after each change."""
    marked = [add_mark(each) for each in pictures]
    near = [psnr(*pair) for pair in zip(pictures, marked, strict=True)]
    print(f"\n{name}: {len(marked)} pictures")
    print(f"  PSNR mean {numpy.mean(near):.1f}, least {min(near):.1f} dB")
    for change, way in CHANGES.items():
        scores = [mark_score(way(each)) or 0.0 for each in marked]
        hits = sum(score >= THRESHOLD for score in scores)
        low, high = wilson(hits, len(scores))
        share = hits / len(scores)
        least = f"score median {numpy.median(scores):.1f}, least {min(scores):.1f}"
        print(f"  {change:24} found {share:.3f} ({low:.3f}-{high:.3f})  {least}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawn", type=int, default=300)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--photos", type=int, default=180)
    parser.add_argument("--unmarked", type=int, default=30_000)
    parser.add_argument("--sheet", type=Path, help="write pictures beside their marked ones")
    options = parser.parse_args()
    some = drawn(options.drawn)
    measure(f"drawn by default, {some[0].width} pixels", some)
    for size in SIZES:
        measure(f"scenes, {size} pixels", list(scenes(options.scenes, size)))
    for size in SIZES:
        measure(f"parts of photographs, {size} pixels", list(crops(options.photos, size)))
    scores = numpy.array([mark_score(each) for each in unmarked(options.unmarked, some)])
    wrong = int((scores >= THRESHOLD).sum())
    low, high = wilson(wrong, len(scores))
    print(f"\n{len(scores)} unmarked pictures: found in {wrong} ({low:.6f}-{high:.6f})")
    tails = ", ".join(f"{each}: {(scores >= each).mean():.6f}" for each in (2, 3, 3.5, 4, 4.5))
    print(
        f"  score mean {scores.mean():.2f}, deviation {scores.std():.2f}, most {scores.max():.2f}"
    )
    print(f"  share of scores from {tails}")
    if options.sheet:
        pairs = [each for image in some[:12] for each in (image, add_mark(image))]
        sheet = grid(pairs, columns=6)
        times = max(1, 256 // some[0].width)
        sheet.resize((sheet.width * times, sheet.height * times), WAYS.NEAREST).save(options.sheet)


if __name__ == "__main__":
    main()
