"""How many planted copies `limner data clean` finds, how many it sees where none are, and the cost.

    python benchmarks/dedup.py [--scenes 1800] [--twins 100] [--mirrored 200] [--copies 25]
        [--size 128] [--json FILE]

Distinct pictures and `--copies` altered copies of each of 8 kinds, as PNG files with captions, go
through the command's own code. Distinct are: emoji scenes no two of which have the same things in
the same number; `--twins` icons, each in 8 colours, with captions that name them; `--mirrored`
scenes of two things, each with its mirror image, with captions that tell sides. A copy has the
caption of its original, so that two grey copies of twins are told apart. Mirrored copies are of
originals whose captions tell no sides: of the others they are not to be found. Seconds are of the
processor. Each copy is of another picture while there are any.
"""

import argparse
import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count as count_up
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from limner.data.cleaning.survey import Survey
from limner.data.copies.copies import group, near_copies
from limner.data.copies.hashes import join
from limner.data.scenes.captions import caption
from limner.data.scenes.graph import COLOURLESS, Graph, sample_graph, scene_rng
from limner.data.scenes.scene import render
from limner.data.scenes.sprites import COLOURS
from limner.data.sources.caption_text import mentions_sides
from limner.data.sources.opening import open_source
from limner.evaluate.resampling import wilson

SEED = 11


def as_jpeg(image: Image.Image) -> Image.Image:
    """Return the picture after JPEG of quality 50."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def halved(image: Image.Image) -> Image.Image:
    """Return the picture at half its size and back."""
    small = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    """Return a function that cuts a share of the width and height off each side."""

    def cut(image: Image.Image) -> Image.Image:
        x, y = round(image.width * share), round(image.height * share)
        return image.crop((x, y, image.width - x, image.height - y))

    return cut


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG q50": as_jpeg,
    "half size and back": halved,
    "grey": lambda image: image.convert("L").convert("RGB"),
    "mirror": ImageOps.mirror,
    "brightness x1.2": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "crop 5 %": cropped(0.05),
    "crop 10 %": cropped(0.10),
    "rotate 5 degrees": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
}


class Distinct(NamedTuple):
    """A picture that is a copy of no other, and its caption."""

    image: Image.Image
    caption: str


def distinct_scenes(count: int, size: int, told: set[str]) -> list[Distinct]:
    """Return scenes no two of which show the same things in the same number, none as `told`."""
    seen: set[object] = set()
    pictures: list[Distinct] = []
    for graph in graphs_of(SEED):
        if len(pictures) == count:
            break
        if (key := what_it_shows(graph)) not in seen and words_of(graph) not in told:
            seen.add(key)
            pictures.append(shown(graph, size))
    return pictures


def recoloured_twins(count: int, size: int) -> list[Distinct]:
    """Return `count` icons, each in 8 colours and else the same to the pixel."""
    pictures: list[Distinct] = []
    singles = (each for each in graphs_of(SEED + 1) if each.kind == "single")
    seen: set[str] = set()
    for graph in singles:
        thing = graph.things[0]
        if graph.style in COLOURLESS or thing.noun in seen:
            continue
        if len(seen) == count:
            break
        seen.add(thing.noun)
        for colour in random.Random(len(seen)).sample(sorted(COLOURS), 8):
            painted = replace(graph, things=(replace(thing, colour=colour),))
            pictures.append(shown(painted, size))
    return pictures


def mirrored_pairs(count: int, size: int) -> list[Distinct]:
    """Return `count` scenes of two things side by side, each followed by its mirror image."""
    pictures: list[Distinct] = []
    seen: set[object] = set()
    for graph in graphs_of(SEED + 2):
        key = what_it_shows(graph)
        if graph.relation != "left" or key in seen or graph.things[0] == graph.things[1]:
            continue
        if len(pictures) == 2 * count:
            break
        seen.add(key)
        pictures.append(shown(graph, size))
        turned = replace(graph, things=graph.things[::-1])
        pictures.append(Distinct(ImageOps.mirror(pictures[-1].image), words_of(turned)))
    return pictures


def graphs_of(seed: int) -> Iterator[Graph]:
    """Yield the graphs of training scenes of a seed, for ever."""
    for index in count_up():
        yield sample_graph("train", scene_rng("train", index, seed, 4), 4)


def shown(graph: Graph, size: int) -> Distinct:
    """Return a scene as a picture with its caption."""
    return Distinct(Image.fromarray(render(graph, size)), words_of(graph))


def words_of(graph: Graph) -> str:
    """Return the English caption of a scene."""
    return caption(graph, "en", random.Random(0))


def what_it_shows(graph: Graph) -> object:
    """Return the things of a scene and how many, whatever their colour, place and ground."""
    return tuple(sorted((thing.noun, thing.count) for thing in graph.things))


def plant(folder: Path, pictures: list[Distinct], copies: int) -> dict[str, tuple[str, str]]:
    """Write pictures and copies as an image folder; return each copy's kind and original."""
    order = list(range(len(pictures)))
    random.Random(SEED).shuffle(order)
    names = [f"s{index:05d}.png" for index in range(len(pictures))]
    files = dict(zip(names, pictures, strict=True))
    planted: dict[str, tuple[str, str]] = {}
    turn = 0
    for number in range(copies * len(KINDS)):
        kind = list(KINDS)[number % len(KINDS)]
        while kind == "mirror" and mentions_sides([pictures[order[turn % len(order)]].caption]):
            turn += 1
        original = order[turn % len(order)]
        turn += 1
        name = f"c{number:05d}.png"
        image, words = pictures[original]
        files[name] = Distinct(KINDS[kind](image), words)
        planted[name] = (kind, names[original])
    with (folder / "metadata.jsonl").open("w") as table:
        for name in sorted(files):
            files[name].image.save(folder / name)
            row = {"file_name": name, "text": files[name].caption}
            table.write(json.dumps(row) + "\n")
    return planted


def measure(pictures: list[Distinct], copies: int) -> dict[str, object]:
    """Return how many copies of each kind were found, false groups, and the seconds."""
    with tempfile.TemporaryDirectory() as place:
        planted = plant(Path(place), pictures, copies)
        survey = Survey(open_source(place))
        began = time.process_time()
        for _ in survey.read():
            pass
        read = time.process_time()
        likenesses = survey.find_copies()
        found = time.process_time()
    keys = survey.keys
    captions = dict(zip(keys, survey.captions, strict=True))
    origin = {key: planted[key][1] if key in planted else key for key in keys}
    groups = [[keys[index] for index in each] for each in group(len(keys), likenesses)]
    together = {key: number for number, each in enumerate(groups) for key in each}
    rates = {}
    for kind in KINDS:
        mine = [(key, of) for key, (which, of) in planted.items() if which == kind]
        hits = sum(together.get(key, -1) == together.get(of, -2) for key, of in mine)
        low, high = wilson(hits, len(mine))
        rates[kind] = {"found": hits, "of": len(mine), "low": low, "high": high}
    false = [each for each in groups if len({origin[key] for key in each}) > 1]
    joined = len({origin[key] for each in false for key in each})
    return {
        "pictures": len(keys),
        "distinct": len(pictures),
        "kinds": rates,
        "false_groups": len(false),
        "false_pictures": joined,
        "false_most": wilson(joined, len(pictures))[1],
        "false": [{key: captions[origin[key]] for key in each} for each in false[:20]],
        "read_seconds": read - began,
        "copies_seconds": found - read,
    }


def measure_join(count: int) -> float:
    """Return the seconds of joining random hashes and their mirrors, as a set's is done."""
    rng = np.random.default_rng(SEED)
    hashes, mirrored = rng.integers(0, 2**64, (2, count), dtype=np.uint64)
    began = time.process_time()
    join(hashes, hashes)
    join(mirrored, hashes)
    return time.process_time() - began


def measure_windows(count: int) -> float:
    """Return the seconds of all passes but reading on pictures of noise."""
    noise = np.random.default_rng(SEED).integers(0, 256, (count, 64, 64), dtype=np.uint8)
    began = time.process_time()
    near_copies(noise, noise[:, ::2, ::2, None].repeat(3, axis=3), range(count))
    return time.process_time() - began


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1800)
    parser.add_argument("--twins", type=int, default=100, help="icons in 8 colours each")
    parser.add_argument("--mirrored", type=int, default=200, help="scenes with their mirror image")
    parser.add_argument("--copies", type=int, default=25, help="of each of the 8 kinds")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--hashes", type=int, default=100_000)
    parser.add_argument("--windows", type=int, default=0, help="time the passes on so many")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    pictures = recoloured_twins(given.twins, given.size)
    pictures += mirrored_pairs(given.mirrored, given.size)
    told = {each.caption for each in pictures}
    pictures += distinct_scenes(given.scenes, given.size, told)
    result = measure(pictures, given.copies)
    result["seed"] = SEED
    result["join_seconds"] = measure_join(given.hashes)
    kinds = result["kinds"]
    assert isinstance(kinds, dict)
    for kind, rate in kinds.items():
        span = f"{rate['low']:.3f} to {rate['high']:.3f}"
        print(f"{kind:20} {rate['found']:4} of {rate['of']:4}   (95 % {span})")
    print(f"seed {SEED}")
    print(f"false groups         {result['false_groups']:4} in {len(pictures)} distinct pictures,")
    print(f"                     at most {result['false_most']:.4f} of these in one (95 %)")
    print(f"reading {result['pictures']} pictures {result['read_seconds']:.1f} s, ", end="")
    print(f"finding copies {result['copies_seconds']:.1f} s")
    print(f"joining {given.hashes} hashes and their mirrors {result['join_seconds']:.1f} s")
    if given.windows:
        result["windows_seconds"] = measure_windows(given.windows)
        print(f"all passes on {given.windows} noise: {result['windows_seconds']:.1f} s")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
