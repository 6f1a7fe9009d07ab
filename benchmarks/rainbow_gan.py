"""How well a GAN of configs/gan/shapes.toml draws rainbow shapes that it was never taught.

    python benchmarks/rainbow_gan.py runs/gan/shapes/model [--captions 2000]

The split and the judge are those of rainbow.py; the codecs of that benchmark it has none of.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from rainbow import Judge, chosen_captions
from shapes import Pixels, split

from limner.registry import load

AT_ONCE = 100  # captions drawn together


def drawings(model: Path, captions: list[str]) -> Pixels:
    """Return the pictures of captions (N, H, W, 3), caption i with seed i."""
    pipeline, parts = load(model), []
    for first in range(0, len(captions), AT_ONCE):
        some = captions[first : first + AT_ONCE]
        parts.append(pipeline.draw_many(some, range(first, first + len(some))))
    pixels = (torch.cat(parts).clamp(-1, 1) + 1) * 127.5
    return np.asarray(pixels.round().byte().permute(0, 2, 3, 1))


def main() -> None:
    """Draw held-out captions and some that were taught, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("model", type=Path)
    parser.add_argument("--captions", type=int, default=2000)
    told = parser.parse_args()
    judge, (trained, held_out) = Judge(), split()
    for name, some, count in (("held out", held_out, told.captions), ("taught", trained, 500)):
        wanted = chosen_captions(some, count)
        pixels = drawings(told.model, [judge.drawings[index].caption for index in wanted])
        error = np.abs(pixels.astype(np.int64) - judge.pictures[wanted].astype(np.int64)).mean()
        found = {
            "captions": len(wanted),
            "exact": float(judge.exact(pixels, wanted).mean()),
            "error": float(error),
            **judge.attributes(pixels, wanted),
        }
        print(name, json.dumps({key: round(value, 4) for key, value in found.items()}))


if __name__ == "__main__":
    main()
