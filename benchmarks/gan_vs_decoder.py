"""A GAN's one pass against the 50 guided steps of a diffusion decoder, a picture each, in turns.

python benchmarks/gan_vs_decoder.py UNCLIP_MODEL [--gan gan] [--rounds 8] [--json FILE]
"""

import argparse
from dataclasses import replace
from itertools import count
from pathlib import Path

from ratios import interleave, report

from limner.registry import load_to_draw

PROMPT = "a red apple on the beach"
TARGET = 20.0


def main() -> None:
    """Print how many times as fast the GAN draws."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("model", help="a model of the family unclip")
    parser.add_argument("--gan", default="gan")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    gan, unclip = load_to_draw(told.gan), load_to_draw(told.model)
    sampling = replace(unclip.defaults, steps=50)
    seeds = count()
    row = interleave(
        lambda: unclip.draw_many([PROMPT], [next(seeds)], sampling),
        lambda: gan.draw_many([PROMPT], [next(seeds)]),
        told.rounds,
        name="a GAN against 50 guided steps",
        target=TARGET,
    )
    report([row], told.json)


if __name__ == "__main__":
    main()
