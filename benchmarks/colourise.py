"""What `limner colourise` is worth: pictures made grey, coloured, and held to the true ones.

    python benchmarks/colourise.py [MODEL] [--count 40] [--first 0] [--seed S] [--sheet FILE]
                                   [--json FILE] [--pictures FOLDER | --photographs]
    python benchmarks/colourise.py --rows PIECE.json PIECE.json ...

The pictures are held-out scenes, the PNG files of a folder, as clip art, or the photographs in
colour of scikit-image. "grey" copies the grey picture, which has the right light and no colour;
"words" are the colours with the scene's caption, "alone" without one: of a folder and of
photographs there is no caption. PSNR in dB and SSIM are of RGB; "gain" is that of each picture over
its grey copy, and "better" the share of pictures with more PSNR than that; "changed" is the share
of pictures that are not their grey copy. Intervals are of pictures drawn again (bootstrap). With
--json the pictures' figures are kept, so that a long run can be one of several pieces.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from limner.colourise import colourise
from limner.data.scenes.scene import scene
from limner.evaluate.metrics.codec import psnr, ssim
from limner.evaluate.resampling import bootstrap_mean, share_of
from limner.images import grid, open_image, to_images, to_tensor
from limner.pipelines.colourise import light_of
from limner.registry import load_to_draw

LEVEL = 3  # single objects, counts and pairs, no drawing styles
SHOWN = 12  # pictures on the sheet
SIZE = 256  # pixels a side
PHOTOGRAPHS = (
    "astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina",
    "rocket",
)  # fmt: skip
SHARES = ("better", "changed")
Row = dict[str, Any]


def pictures(told: argparse.Namespace) -> Iterator[tuple[Image.Image, str]]:
    """Yield true pictures with their captions, "" where there is none."""
    if told.photographs:
        from skimage import data

        for name in PHOTOGRAPHS:
            try:
                pixels = getattr(data, name)()
            except Exception as error:  # noqa: BLE001  # what is not in the package is downloaded
                print(f"left out {name}: {type(error).__name__}")
                continue
            yield ImageOps.fit(Image.fromarray(pixels).convert("RGB"), (SIZE, SIZE)), ""
    elif told.pictures:
        files = sorted(told.pictures.rglob("*.png"))[told.first : told.first + told.count]
        for file in files:
            yield ImageOps.fit(open_image(file), (SIZE, SIZE)), ""
    else:
        for index in range(told.first, told.first + told.count):
            made = scene("held_out", index, seed=told.seed, size=SIZE, level=LEVEL)
            yield Image.fromarray(made.image), made.english


def figures(found: Image.Image, truth: Image.Image, grey: Image.Image) -> dict[str, float]:
    """Return what colours are worth."""
    made, true, plain = (to_tensor([each]) for each in (found, truth, grey))
    gain = float(psnr(made, true) - psnr(plain, true))
    changed = float(not torch.equal(made, plain))
    similar = float(ssim(made, true))
    return {"psnr": float(psnr(made, true)), "ssim": similar, "gain": gain,
            "better": float(gain > 0), "changed": changed}  # fmt: skip


def measure(told: argparse.Namespace) -> list[Row]:
    """Colour pictures; return a row for each of them and each way."""
    pipeline, rows, shown = load_to_draw(told.model), list[Row](), list[list[Image.Image]]()
    for index, (true, text) in enumerate(pictures(told), told.first):
        # Through 8 bits, as a file would have it.
        (grey,) = to_images(light_of(to_tensor([true])).expand(-1, 3, -1, -1))
        ways = {"grey": grey}
        for way, words in (("alone", ""), *((("words", text),) if text else ())):
            (made,) = colourise(grey, words, model=pipeline, seed=index)
            ways[way] = made.image
        rows += [{"way": way, **figures(each, true, grey)} for way, each in ways.items()]
        shown.append([*ways.values(), true])
    if told.sheet:
        few = shown[:SHOWN]
        grid([each for row in zip(*few, strict=True) for each in row], len(few)).save(told.sheet)
    return rows


def show(rows: list[Row]) -> None:
    """Print the mean of each figure by way."""
    for way in dict.fromkeys(row["way"] for row in rows):
        some, cells = [row for row in rows if row["way"] == way], list[str]()
        for name in ("psnr", "ssim", "gain", *SHARES):
            values = [row[name] for row in some]
            each = share_of(values) if name in SHARES else bootstrap_mean(values)
            cells.append(f"{name} {each.value:.3f} ({each.interval('.3f')})")
        print(f"{way} n={len(some)}".ljust(12), "  ".join(cells))


def main() -> None:
    """Measure, or read what was measured; print the table, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", default="unclip")
    parser.add_argument("--count", type=int, default=40, help="pictures")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--pictures", type=Path, help="a folder of PNG files")
    parser.add_argument("--photographs", action="store_true", help="those of scikit-image")
    parser.add_argument("--sheet", type=Path, help="grey, alone, with words, and true, in rows")
    parser.add_argument("--json", type=Path, help="keep the figures of pictures")
    parser.add_argument("--rows", type=Path, nargs="+", help="those of earlier pieces")
    told = parser.parse_args()
    if told.rows:
        rows = [row for each in told.rows for row in json.loads(each.read_text("utf-8"))]
    else:
        rows = measure(told)
    show(rows)
    if told.json:
        told.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
