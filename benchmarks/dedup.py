"""How many planted copies `limner data clean` finds, and what looking for them costs.

    python benchmarks/dedup.py [--scenes 1800] [--copies 25] [--size 128] [--json FILE]

Distinct emoji scenes and `--copies` altered copies of each of 8 kinds, as PNG files, go through the
command's own code. Scenes are distinct when no two have the same things in the same number: emoji
scenes with the same things on another ground are nearly alike, and rightly found so. Seconds are of
the processor. Each copy is of another scene while there are scenes.
"""

import argparse
import io
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from limner.data.copies import group, near_copies
from limner.data.hashes import join
from limner.data.scenes import Graph, render, sample_graph, scene_rng
from limner.data.sources import open_source
from limner.data.survey import Survey
from limner.evaluate.intervals import wilson

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


def distinct_scenes(count: int, size: int) -> list[Image.Image]:
    """Return scenes no two of which show the same things in the same number."""
    seen: set[object] = set()
    pictures: list[Image.Image] = []
    index = 0
    while len(pictures) < count:
        graph = sample_graph("train", scene_rng("train", index, SEED, 4), 4)
        index += 1
        if (key := what_it_shows(graph)) not in seen:
            seen.add(key)
            pictures.append(Image.fromarray(render(graph, size)))
    return pictures


def what_it_shows(graph: Graph) -> object:
    """Return the things of a scene and how many, whatever their colour, place and ground."""
    return tuple(sorted((thing.noun, thing.count) for thing in graph.things))


def plant(folder: Path, scenes: int, copies: int, size: int) -> dict[str, tuple[str, str]]:
    """Write scenes and copies as an image folder; return each copy's kind and original."""
    pictures = distinct_scenes(scenes, size)
    order = list(range(scenes))
    random.Random(SEED).shuffle(order)
    names = [f"s{index:05d}.png" for index in range(scenes)]
    files = dict(zip(names, pictures, strict=True))
    planted: dict[str, tuple[str, str]] = {}
    for number in range(copies * len(KINDS)):
        kind = list(KINDS)[number % len(KINDS)]
        original = order[number % scenes]
        name = f"c{number:05d}.png"
        files[name] = KINDS[kind](pictures[original])
        planted[name] = (kind, names[original])
    with (folder / "metadata.jsonl").open("w") as table:
        for name in sorted(files):
            files[name].save(folder / name)
            table.write(json.dumps({"file_name": name, "text": f"picture {name}"}) + "\n")
    return planted


def measure(scenes: int, copies: int, size: int) -> dict[str, object]:
    """Return how many copies of each kind were found, false groups, and the seconds."""
    with tempfile.TemporaryDirectory() as place:
        planted = plant(Path(place), scenes, copies, size)
        survey = Survey(open_source(place))
        began = time.process_time()
        for _ in survey.read():
            pass
        read = time.process_time()
        likenesses = survey.find_copies()
        found = time.process_time()
    keys = survey.keys
    origin = {key: planted[key][1] if key in planted else key for key in keys}
    groups = [[keys[index] for index in each] for each in group(len(keys), likenesses)]
    together = {key: number for number, each in enumerate(groups) for key in each}
    rates = {}
    for kind in KINDS:
        mine = [(key, of) for key, (which, of) in planted.items() if which == kind]
        hits = sum(together.get(key, -1) == together.get(of, -2) for key, of in mine)
        low, high = wilson(hits, len(mine))
        rates[kind] = {"found": hits, "of": len(mine), "low": low, "high": high}
    return {
        "pictures": len(keys),
        "kinds": rates,
        "false_groups": sum(len({origin[key] for key in each}) > 1 for each in groups),
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
    near_copies(noise, range(count))
    return time.process_time() - began


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1800)
    parser.add_argument("--copies", type=int, default=25, help="of each of the 8 kinds")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--hashes", type=int, default=100_000)
    parser.add_argument("--windows", type=int, default=0, help="time the passes on so many")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result = measure(given.scenes, given.copies, given.size)
    result["seed"] = SEED
    result["join_seconds"] = measure_join(given.hashes)
    kinds = result["kinds"]
    assert isinstance(kinds, dict)
    for kind, rate in kinds.items():
        span = f"{rate['low']:.3f} to {rate['high']:.3f}"
        print(f"{kind:20} {rate['found']:4} of {rate['of']:4}   (95 % {span})")
    print(f"seed {SEED}")
    print(f"false groups         {result['false_groups']:4} in {given.scenes} scenes")
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
