"""What `limner morph` takes, and how steady it is: pairs of held-out prompts, 24 frames each.

    python benchmarks/morph.py [MODEL ...] [--pairs 10] [--frames 24] [--threads 1] [--seed S]
                               [--out FOLDER] [--json FILE]

"seconds" are those of processor time for the frames and the encoded WebP, without loading: a
machine that does other work makes them no longer, and of N threads the clock shows at best an Nth.
"steady" is the greatest change between two frames over the median one, each the root mean square of
pixels. With --out the morphs are written. Intervals are of pairs drawn again (bootstrap).
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from limner.evaluate.resampling import bootstrap_mean
from limner.evaluate.scenes.prompts import collect_prompts
from limner.morph import Morph, morph
from limner.registry import load_to_draw

MODELS = ("default", "gan", "unclip", "next-scale")
Row = dict[str, Any]


def steadiness(found: Morph) -> float:
    """Return the greatest change between two frames over the median one."""
    return max(found.changes) / max(median(found.changes), 1e-9)


def measure(name: str, told: argparse.Namespace) -> list[Row]:
    """Morph pairs of prompts by a model; return a row for each."""
    pipeline, rows = load_to_draw(name), list[Row]()
    texts = [each.english for each in collect_prompts("held_out", 2 * told.pairs, told.seed)]
    for number, pair in enumerate(zip(texts[::2], texts[1::2], strict=True)):
        began = time.process_time()
        found = morph(*pair, frames=told.frames, model=pipeline, seed=number)
        data = found.encode(".webp")
        seconds = time.process_time() - began
        row = {"model": name, "pair": pair, "size": found.frames[0].width, "seconds": seconds,
               "steady": steadiness(found), "bytes": len(data)}  # fmt: skip
        rows.append(row)
        print(row, flush=True)
        if told.out:
            told.out.mkdir(parents=True, exist_ok=True)
            (told.out / f"{name}-{number}.webp").write_bytes(data)
    return rows


def main() -> None:
    """Measure; print a line for each model, and write what was asked for."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--pairs", type=int, default=10, help="of prompts")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the prompts")
    parser.add_argument("--out", type=Path, help="where the morphs go")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    every = list[Row]()
    for name in told.models:
        rows = measure(name, told)
        every += rows
        cells = [
            f"{what} {each.value:.2f} ({each.interval('.2f')}), at most {most:.2f}"
            for what in ("seconds", "steady")
            for values in ([row[what] for row in rows],)
            for each, most in ((bootstrap_mean(values), max(values)),)
        ]
        print(f"{name}, {rows[0]['size']} pixels, n={len(rows)}: {'; '.join(cells)}", flush=True)
    if told.json:
        told.json.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
