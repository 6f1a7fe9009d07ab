"""What codecs keep of pictures and what they cost: nothing is trained.

    python benchmarks/codecs.py runs/codecs/fsq runs/codecs/dvae [--json FILE] [--sheets FOLDER]

Each argument is a codec's run or file, or a whole model's folder. Held-out scenes and, with
scikit-image installed, its bundled photographs: shrunk to the codec's size ("photographs") and at
their own resolution, cut into tiles of that size ("tiles"). One sheet for each codec shows true
pictures above reconstructed ones. The speeds of all codecs are measured in turns; they are medians
of rounds with the least and the greatest, and worth little on a busy machine.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from limner.data.batches.batches import picture_batch
from limner.errors import LimnerError
from limner.evaluate.metrics.codec import bits_of, code_use, code_use_by_map, psnr, ssim
from limner.images import grid, to_images, to_tensor
from limner.train.parts import load_autoencoder

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field")
AT_ONCE = 16
COLUMNS = 12
NO_PHOTOGRAPHS = "scikit-image is not installed, so no photographs; pip install scikit-image"


@dataclass(frozen=True)
class Subject:
    """One codec and where it came from."""

    path: str
    name: str
    codec: Any

    @property
    def size(self) -> int:
        """The side of its pictures in pixels."""
        side: int = self.codec.config.size
        return side

    @property
    def label(self) -> str:
        """The name of its folder, and the codec's own where that is another."""
        folder = Path(self.path).resolve().name
        return folder if folder == self.name else f"{folder} ({self.name})"


@dataclass(frozen=True)
class Quality:
    """What is kept of one set of pictures; None where a codec has no codes."""

    codec: str
    path: str
    on: str
    pictures: int
    bits: float | None
    psnr: float
    ssim: float
    codes_used: float | None
    perplexity: float | None
    perplexity_by_map: list[float]


@dataclass(frozen=True)
class Speed:
    """Pictures a second, the median of n rounds with the least and the greatest."""

    codec: str
    path: str
    name: str
    median: float
    low: float
    high: float
    n: int


def load(path: str) -> Subject:
    """Return the codec of a run, a file or a model's folder."""
    codec, config = load_autoencoder(path)
    return Subject(path, config["name"], codec)


def through(codec: Any, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return reconstructions and codes, or None where the latent is continuous."""
    drawn, codes = [], []
    for part in images.split(AT_ONCE):
        codes.append(codec.encode(part))
        drawn.append(codec.decode(codes[-1]))
    return torch.cat(drawn), None if codec.continuous else torch.cat(codes)


def cut(image: Tensor, size: int) -> Tensor:
    """Return the tiles (N, 3, size, size) of an image (3, H, W), row by row, without its rests."""
    tiles = image.unfold(1, size, size).unfold(2, size, size)  # (3, rows, columns, size, size)
    return tiles.permute(1, 2, 0, 3, 4).flatten(0, 1)


def join(tiles: Tensor, columns: int) -> Tensor:
    """Return the image (3, H, W) that `cut` cut."""
    rows = tiles.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4)
    return rows.flatten(3, 4).flatten(1, 2)


def photographs() -> list[Image.Image]:
    """Return the bundled photographs; none, and a line on stderr, without scikit-image."""
    if importlib.util.find_spec("skimage") is None:
        print(NO_PHOTOGRAPHS, file=sys.stderr)
        return []
    from skimage import data

    found = []
    for name in PHOTOGRAPHS:
        try:
            found.append(Image.fromarray(getattr(data, name)()).convert("RGB"))
        except (OSError, ModuleNotFoundError) as error:  # not in this wheel, and no network
            print(f"photograph {name} left out: {error}", file=sys.stderr)
    return found


def shrink(photograph: Image.Image, size: int) -> Image.Image:
    """Return the middle square of a photograph at size x size."""
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    square = photograph.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def quality(subject: Subject, on: str, images: Tensor, drawn: Tensor, codes: Any) -> Quality:
    """Return the measures of one set of pictures of one size."""
    found = (float(psnr(drawn, images).mean()), float(ssim(drawn, images).mean()))
    return _quality(subject, on, len(images), found, codes)


def _quality(
    subject: Subject, on: str, count: int, found: tuple[float, float], codes: Tensor | None
) -> Quality:
    bits = used = perplexity = None
    by_map: list[float] = []
    if codes is not None:
        use = code_use(codes, subject.codec)
        bits, used, perplexity = bits_of(subject.codec), use.used, use.perplexity
        by_map = [each.perplexity for each in code_use_by_map(codes, subject.codec)]
    return Quality(subject.name, subject.path, on, count, bits, *found, used, perplexity, by_map)


def measure_tiles(subject: Subject, photos: Sequence[Image.Image]) -> tuple[Quality, list[Tensor]]:
    """Return the measures of whole photographs put together of tiles, and those photographs."""
    decibels, similarities, codes, shown = [], [], [], []
    for photo in photos:
        whole = to_tensor([photo])[0]
        tiles = cut(whole, subject.size)
        drawn, found = through(subject.codec, tiles)
        columns = photo.width // subject.size
        true, made = join(tiles, columns), join(drawn, columns)
        decibels.append(float(psnr(made[None], true[None])))
        similarities.append(float(ssim(made[None], true[None])))
        codes += [] if found is None else [found]
        shown += [true, made]
    means = (statistics.fmean(decibels), statistics.fmean(similarities))
    joined = torch.cat(codes) if codes else None
    return _quality(subject, "tiles", len(photos), means, joined), shown


def measure(
    subject: Subject, scenes: int, photos: Sequence[Image.Image], sheets: Path
) -> list[Quality]:
    """Return the measures of one codec on every set of pictures, and write its sheets."""
    images = picture_batch("held_out", 0, scenes, size=subject.size)
    drawn, codes = through(subject.codec, images)
    found = [quality(subject, "scenes", images, drawn, codes)]
    rows = [
        images[:COLUMNS],
        drawn[:COLUMNS],
        images[COLUMNS:][:COLUMNS],
        drawn[COLUMNS:][:COLUMNS],
    ]
    sheets.mkdir(parents=True, exist_ok=True)
    stem = "-".join(Path(subject.path).parts[-2:])
    if photos:
        images = to_tensor([shrink(photo, subject.size) for photo in photos])
        drawn, codes = through(subject.codec, images)
        found.append(quality(subject, "photographs", images, drawn, codes))
        blank = torch.ones(max(0, COLUMNS - len(photos)), *images.shape[1:])
        rows += [torch.cat([part[:COLUMNS], blank]) for part in (images, drawn)]
        tiled, shown = measure_tiles(subject, photos)
        found.append(tiled)
        strips = [torch.cat(shown[index : index + 2], dim=1) for index in range(0, len(shown), 2)]
        for photo, strip in zip(PHOTOGRAPHS, strips, strict=False):
            to_images(strip[None])[0].save(sheets / f"{stem}-{photo}.png")
    full = [row for row in rows if len(row) == COLUMNS] or rows[:2]
    grid(to_images(torch.cat(full)), columns=len(full[0])).save(sheets / f"{stem}.png")
    return found


def seconds(call: Callable[[], object]) -> float:
    """Return the wall seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure_speed(subjects: Sequence[Subject], rounds: int) -> list[Speed]:
    """Return pictures a second of encoding and decoding, all codecs in turns."""
    inputs = []
    for subject in subjects:
        images = picture_batch("held_out", 0, AT_ONCE, size=subject.size)
        inputs.append((images, subject.codec.encode(images)))
    rates: dict[tuple[int, str], list[float]] = {}
    for number in range(rounds + 1):
        for index, (subject, (images, latent)) in enumerate(zip(subjects, inputs, strict=True)):
            codec = subject.codec
            for name, given in (("encode", images), ("decode", latent)):
                function = getattr(codec, name)
                rate = AT_ONCE / seconds(lambda call=function, value=given: call(value))
                if number:  # the first round warms up
                    rates.setdefault((index, name), []).append(rate)
    return [
        Speed(
            subjects[index].name,
            subjects[index].path,
            name,
            statistics.median(values),
            min(values),
            max(values),
            len(values),
        )
        for (index, name), values in rates.items()
    ]


def show(value: float | None, form: str) -> str:
    """Return a number of the table, or a dash of the same width."""
    width = int(form.split(".")[0])
    return " " * (width - 1) + "-" if value is None else f"{value:{form}}"


def print_tables(subjects: Sequence[Subject], found: list[Quality], speeds: list[Speed]) -> None:
    """Print what was measured."""
    labels = {subject.path: subject.label for subject in subjects}
    wide = max(len("codec"), *(len(label) for label in labels.values()))
    print(f"{'codec':<{wide}}  {'on':<11}     n    bits   PSNR   SSIM  codes used  perplexity")
    for each in found:
        print(
            f"{labels[each.path]:<{wide}}  {each.on:<11}{each.pictures:6d}{show(each.bits, '8.0f')}"
            f"{each.psnr:7.2f}{each.ssim:7.3f}{show(each.codes_used, '12.3f')}"
            f"{show(each.perplexity, '12.1f')}"
        )
    print(f"\n{'codec':<{wide}}  pictures/s   median  [least - greatest], {AT_ONCE} at once")
    for speed in speeds:
        print(
            f"{labels[speed.path]:<{wide}}  {speed.name:<10}{speed.median:9.1f}"
            f"  [{speed.low:.1f} - {speed.high:.1f}]  n={speed.n}"
        )


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("codecs", nargs="+", help="runs, codec files or model folders")
    parser.add_argument("--scenes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sheets", type=Path, default=Path("runs/codec-sheets"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        subjects = [load(path) for path in options.codecs]
    except LimnerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    photos = photographs()
    with torch.inference_mode():
        found = []
        for subject in subjects:
            found += measure(subject, options.scenes, photos, options.sheets)
        speeds = measure_speed(subjects, options.rounds)
    print_tables(subjects, found, speeds)
    print(f"\nsheets in {options.sheets}")
    if options.json:
        rows = {"quality": [asdict(q) for q in found], "speed": [asdict(s) for s in speeds]}
        options.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
