"""What `limner colourise` is worth: held-out scenes made grey, coloured, and held to the true ones.

    python benchmarks/colourise.py [MODEL] [--count 40] [--seed S] [--sheet FILE] [--json FILE]

"grey" copies the grey picture, which has the right light and no colour; "words" are the colours
with the scene's caption, "alone" without one. PSNR in dB and SSIM are of RGB; "gain" is that of
each picture over its grey copy, and "better" the share of pictures with more PSNR than that.
Intervals are of pictures drawn again (bootstrap).
"""

import argparse
import json
from pathlib import Path

import numpy
import torch
from PIL.Image import Image
from torch import Tensor

from limner.colourise import colourise
from limner.data.batches.batches import pixels_to_tensor
from limner.data.scenes.scene import scene
from limner.evaluate.metrics.codec import psnr, ssim
from limner.evaluate.resampling import Estimate, bootstrap_mean, share_of
from limner.images import grid, to_images, to_tensor
from limner.pipelines.colourise import light_of
from limner.registry import load_to_draw

LEVEL = 3  # single objects, counts and pairs, no drawing styles
SHOWN = 12  # scenes on the sheet


def figures(found: Tensor, truth: Tensor, grey: Tensor) -> dict[str, Estimate]:
    """Return what colours are worth, each a mean over pictures."""
    gain = psnr(found, truth) - psnr(grey, truth)
    return {
        "psnr": bootstrap_mean(psnr(found, truth)),
        "ssim": bootstrap_mean(ssim(found, truth)),
        "gain": bootstrap_mean(gain),
        "better": share_of((gain > 0).float()),
    }


def main() -> None:
    """Colour the scenes, print the table, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", default="unclip")
    parser.add_argument("--count", type=int, default=40, help="scenes")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--sheet", type=Path, help="grey, alone, with words, and true, in rows")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    pipeline = load_to_draw(told.model)
    size, truth = pipeline.size, list[Tensor]()
    rows: dict[str, list[Image]] = {"grey": [], "alone": [], "words": []}
    for index in range(told.count):
        made = scene("held_out", index, seed=told.seed, size=size, level=LEVEL)
        truth.append(pixels_to_tensor(numpy.stack([made.image])))
        # Through 8 bits, as a file would have it.
        (grey,) = to_images(light_of(truth[-1]).expand(-1, 3, -1, -1))
        rows["grey"].append(grey)
        for way, text in (("alone", ""), ("words", made.english)):
            rows[way] += [each.image for each in colourise(grey, text, model=pipeline, seed=index)]
        if (index + 1) % 10 == 0 or index + 1 == told.count:
            true = torch.cat(truth)
            tensors = {way: to_tensor(images) for way, images in rows.items()}
            table = {way: figures(each, true, tensors["grey"]) for way, each in tensors.items()}
            print(f"{index + 1} scenes")
            for way, row in table.items():
                cells = [
                    f"{k} {each.value:.3f} ({each.interval('.3f')})" for k, each in row.items()
                ]
                print(way.ljust(6), "  ".join(cells), flush=True)
    if told.sheet:
        shown = [rows["grey"], rows["alone"], rows["words"], to_images(torch.cat(truth))]
        grid([each for row in shown for each in row[:SHOWN]], columns=SHOWN).save(told.sheet)
    if told.json:
        answer = {way: {k: each.to_json() for k, each in row.items()} for way, row in table.items()}
        told.json.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
