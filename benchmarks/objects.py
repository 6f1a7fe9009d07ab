"""Whether `--mask object:WORD` covers what the word names, where that is known: on true scenes.

    python benchmarks/objects.py [MODEL] [--count 120] [--seed S] [--ways read clip] [--json FILE]

Held-out scenes of one object and of two; the word is an object's noun. "peak" asks whether the
hottest cell lies in the box of the object's own pixels, "union" is intersection over union of the
mask and that box, "covered" the share of the object's pixels that the mask holds, and "whole" how
often that is more than 0.99: what is left of a thing is drawn on. The ways are that of the library,
a CLIP and windows that are hidden (`limner/finish/find.py`), and what the model's own prior says:
how many nats less likely each cell is without the word ("a WORD" against no text), or with another
noun in its place, the mean of 16, as the box of the cells from 0.15 of the peak on; and the things
that the model reads in the picture, of which the library asks first. "found" is how often it reads
one; where it reads none its mask is empty.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from limner.data.scenes.backgrounds import background
from limner.data.scenes.nouns import nouns
from limner.data.scenes.scene import Box, layout, render
from limner.evaluate.resampling import bootstrap_mean
from limner.evaluate.scenes.prompts import Prompt, collect_prompts
from limner.finish.find import find_object, heat_of
from limner.images import to_tensor
from limner.pipelines.finding import find_named
from limner.pipelines.redrawing import box_around
from limner.registry import load, load_clip

Flags = npt.NDArray[np.bool_]
OTHERS = 16
HOT = 0.15  # of the peak: a cell of the prior's box
CLIP, NONE, OTHER, READ = "CLIP", "prior, no text", "prior, other nouns", "things read"
WAYS = {"clip": CLIP, "none": NONE, "other": OTHER, "read": READ}


@dataclass(frozen=True)
class Case:
    """A picture, the word for a thing in it, the thing's pixels, and the box of these."""

    picture: Image.Image
    word: str
    pixels: Flags
    box: Flags


def cases(count: int, seed: int, size: int) -> Iterator[Case]:
    """Yield held-out scenes with a thing of each."""
    found = 0
    for number, prompt in enumerate(collect_prompts("held_out", min(4 * count, 10_000), seed)):
        boxes = layout(prompt.graph, size)
        if prompt.graph.kind == "count":  # of several the word names all
            continue
        box = boxes[number % len(boxes)]
        pixels = drawn_pixels(prompt, box, size)
        if not pixels.any():
            continue
        picture = Image.fromarray(render(prompt.graph, size))
        word = prompt.graph.things[box.thing].entry.singular
        yield Case(picture, word, pixels, box_of(pixels))
        found += 1
        if found == count:
            return


def drawn_pixels(prompt: Prompt, box: Box, size: int) -> Flags:
    """Return which pixels of an object's place differ from the bare background."""
    bare = background(prompt.graph.background, size).astype(int)
    differs = np.abs(render(prompt.graph, size).astype(int) - bare).max(-1) > 8
    here = np.zeros((size, size), np.bool_)
    here[box.top : box.top + box.side, box.left : box.left + box.side] = True
    return differs & here


def box_of(pixels: Flags) -> Flags:
    """Return the smallest rectangle that holds the pixels."""
    return box_around(torch.from_numpy(pixels)).numpy()


def with_article(noun: str) -> str:
    """Return "a cat" or "an apple"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def prior_heat(model: Any, case: Case, others: list[str]) -> dict[str, Tensor]:
    """Return how much less likely each cell (h, w) is without the word, in nats, in two ways."""
    codes = model.codec.encode(to_tensor([case.picture]))
    texts = [with_article(case.word), "", *map(with_article, others)]
    nats = torch.cat([model.prior.nll(model.read([text]), codes).sum(-1) for text in texts])
    nats = nats.view(-1, *model.codec.grid)
    return {NONE: nats[1] - nats[0], OTHER: nats[2:].mean(0) - nats[0]}


def answer(way: str, model: Any, clip: Any, case: Case, names: list[str]) -> tuple[Tensor, Flags]:
    """Return the heat and the mask of one way."""
    if way == CLIP:
        mask = np.asarray(find_object(clip, case.picture, case.word)) > 0
        return heat_of(clip, case.picture, case.word), mask
    if way == READ:
        mask = read_mask(model, case)
        return middle_of(mask), mask
    heat = prior_heat(model, case, names)[way]
    return heat, enlarged(box_around(heat >= HOT * heat.max()), model.size)


def enlarged(cells: Tensor, size: int) -> Flags:
    """Return flags of cells (h, w) as flags of pixels."""
    rows, columns = (size // side for side in cells.shape)
    return np.kron(cells.numpy(), np.ones((rows, columns))) > 0


def read_mask(model: Any, case: Case) -> Flags:
    """Return the mask of the thing that a model reads under the word, empty where there is none."""
    found = find_named(model, case.picture, case.word)
    return np.zeros_like(case.box) if found is None else np.asarray(found) > 0


def middle_of(mask: Flags) -> Tensor:
    """Return a map (h, w) that is the hotter the nearer to a mask's middle."""
    rows, columns = (torch.arange(len(mask), dtype=torch.float32) for _ in range(2))
    if mask.any():
        at = mask.nonzero()
        rows, columns = (
            each - float(place.mean()) for each, place in zip((rows, columns), at, strict=True)
        )
    return -(rows[:, None].square() + columns.square())


def marks(case: Case, heat: Tensor, mask: Flags) -> dict[str, float]:
    """Return what a way is worth on a case."""
    size = len(mask)
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    at = tuple(int((place + 0.5) * size / heat.shape[0]) for place in (row, column))
    covered = float((mask & case.pixels).sum() / case.pixels.sum())
    return {
        "peak": float(case.box[at]),
        "union": float((mask & case.box).sum() / (mask | case.box).sum()),
        "covered": covered,
        "whole": float(covered > 0.99),
        "found": float(mask.any()),
    }


@torch.inference_mode()
def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, clip = load(options.model), load_clip()
    chance = np.random.default_rng(options.seed)
    names = [str(each) for each in chance.choice([each.singular for each in nouns()], OTHERS)]
    ways = [WAYS[each] for each in options.ways]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for case in cases(options.count, options.seed, model.size):
        for way in ways:
            found[way].append(marks(case, *answer(way, model, clip, case, names)))
    print(f"n={options.count}, {options.model}, {model.size} pixels")
    table = {
        way: {name: bootstrap_mean([each[name] for each in rows]) for name in rows[0]}
        for way, rows in found.items()
    }
    for way, row in table.items():
        print(f"| {way} | " + " | ".join(f"{name} {each}" for name, each in row.items()) + " |")
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
