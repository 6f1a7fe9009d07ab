"""The rainbow-shapes benchmark: which system draws captions it was never taught?

    python benchmarks/rainbow.py [--budget 300] [--seeds 3] [--systems NAME,...] [--json FILE]

limner and DALLE-pytorch 1.6.6 (with its notebook's settings, and with a prior small enough for the
budget) learn from the same 2,764 of 9,216 captioned pictures, codec included, each within the same
seconds of two cores, and draw the same held-out captions greedily. A drawing is right when the
nearest of all true pictures is the caption's own; that judge knows no tokens. See shapes.py for the
pictures and the split. With --json, runs that the file has already are not done again.
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peers import DALLE_PYTORCH, DALLE_PYTORCH_DEPS, peer_python, rerun_in
from shapes import ATTRIBUTES, Drawing, Pixels, draw, every_drawing, same_pictures, split

SHEET = 24  # captions on the sheet


@dataclass(frozen=True)
class Run:
    """What one system with one seed reached; shares of held-out captions unless said otherwise.

    `new` counts only captions whose picture training never showed, under any caption. `tokens` is
    the notebook's figure: codes equal to the codec's own of the true picture. `ceiling` is `exact`
    of the true pictures through the codec. `error` is the mean difference of a pixel, of 255.
    """

    system: str
    seed: int
    budget: float
    captions: int
    parameters: int
    steps: tuple[int, int]
    wall: float
    exact: float
    new: float
    attributes: dict[str, float]
    error: float
    tokens: float
    ceiling: float
    trained: float


class Judge:
    """The true pictures, and which of them a drawing is."""

    def __init__(self) -> None:
        import numpy as np
        import torch

        self.drawings = every_drawing()
        self.pictures: Pixels = np.stack([draw(each) for each in self.drawings])
        self.same = same_pictures(self.pictures)
        self.distinct = np.unique(self.same)
        self.true = _flat(self.pictures[self.distinct])
        self.meant: dict[int, list[Drawing]] = {}
        for first, drawing in zip(self.same.tolist(), self.drawings, strict=True):
            self.meant.setdefault(first, []).append(drawing)
        self.norms = self.true.square().sum(1)
        self.torch = torch

    def nearest(self, pixels: Pixels) -> Any:
        """Return the position of the nearest true picture, by squared error."""
        parts = _flat(pixels).split(512)
        near = [(self.norms - 2 * part @ self.true.T).argmin(1) for part in parts]
        return self.distinct[self.torch.cat(near).numpy()]

    def exact(self, pixels: Pixels, wanted: Any) -> Any:
        """Return whether each drawing is the picture at `wanted`."""
        return self.nearest(pixels) == self.same[wanted]

    def attributes(self, pixels: Pixels, wanted: Any) -> dict[str, float]:
        """Return the share of drawings right in each attribute."""
        right = dict.fromkeys(ATTRIBUTES, 0)
        for found, index in zip(self.nearest(pixels).tolist(), wanted, strict=True):
            for position, name in enumerate(ATTRIBUTES):
                value = self.drawings[index].values[position]
                right[name] += any(each.values[position] == value for each in self.meant[found])
        return {name: number / len(wanted) for name, number in right.items()}


def _flat(pixels: Pixels) -> Any:
    import torch

    return torch.from_numpy(pixels.reshape(len(pixels), -1)).float() / 255 - 0.5


def chosen_captions(held_out: list[int], number: int) -> list[int]:
    """Return so many held-out positions, spread evenly and the same for every system; 0 is all."""
    return held_out[:: max(1, len(held_out) // number)][:number] if number else held_out


def run(name: str, seed: int, judge: Judge, options: argparse.Namespace) -> tuple[Run, Pixels]:
    """Train one system, let it draw, judge; return the figures and the drawings of the sheet."""
    import numpy as np
    from rainbow_systems import create_system

    trained, held_out = split()
    wanted = chosen_captions(held_out, options.captions)
    began = time.perf_counter()
    system = create_system(name, seed)
    captions = [judge.drawings[index].caption for index in trained]
    system.train(judge.pictures[trained], captions, options.budget)
    wall = time.perf_counter() - began
    codes = system.draw([judge.drawings[index].caption for index in wanted])
    pixels = system.decode(codes)
    right = judge.exact(pixels, wanted)
    shown = set(judge.same[trained].tolist())
    new = np.array([judge.same[index] not in shown for index in wanted])
    own = system.encode(judge.pictures[wanted])
    again = chosen_captions(trained, min(len(trained), 500))
    redrawn = system.decode(system.draw([judge.drawings[index].caption for index in again]))
    difference = np.abs(pixels.astype(np.int64) - judge.pictures[wanted].astype(np.int64))
    found = Run(
        system=name,
        seed=seed,
        budget=options.budget,
        captions=len(wanted),
        parameters=system.parameters,
        steps=system.steps,
        wall=wall,
        exact=float(right.mean()),
        new=float(right[new].mean()),
        attributes=judge.attributes(pixels, wanted),
        error=float(difference.mean()),
        tokens=float((codes == own).flatten(1).all(1).float().mean()),
        ceiling=float(judge.exact(system.decode(own), wanted).mean()),
        trained=float(judge.exact(redrawn, again).mean()),
    )
    every = len(wanted) // min(SHEET, len(wanted))
    rows = list(range(0, len(wanted), every))[:SHEET]
    true = judge.pictures[[wanted[row] for row in rows]]
    return found, np.concatenate(
        [np.concatenate(true, axis=1), np.concatenate(pixels[rows], axis=1)]
    )


def table(runs: list[Run]) -> None:
    """Print each system's mean over seeds with the least and greatest."""
    for name in dict.fromkeys(each.system for each in runs):
        mine = [each for each in runs if each.system == name]
        first = mine[0]
        steps = " + ".join(str(statistics.median(each.steps[i] for each in mine)) for i in (0, 1))
        print(
            f"\n{name}: {first.parameters / 1e6:.2f} M parameters, {len(mine)} seeds, "
            f"{first.budget:.0f} s of two cores each, {steps} steps, {first.captions} captions"
        )
        lines: list[tuple[str, list[float]]] = [
            ("exact picture, held out", [each.exact for each in mine]),
            ("- pictures never shown", [each.new for each in mine]),
            *((f"- {key}", [each.attributes[key] for each in mine]) for key in ATTRIBUTES),
            ("pixel error, of 255", [each.error for each in mine]),
            ("token string (notebook's)", [each.tokens for each in mine]),
            ("ceiling: the codec's own", [each.ceiling for each in mine]),
            ("exact picture, trained", [each.trained for each in mine]),
        ]
        for label, values in lines:
            mean = statistics.mean(values)
            print(f"  {label:<28}{mean:8.3f}  [{min(values):.3f} - {max(values):.3f}]")


def main() -> None:
    """Train, draw, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of two cores a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--systems", default="limner,dalle-pytorch-small,dalle-pytorch")
    parser.add_argument("--captions", type=int, default=2000, help="held-out captions; 0 is all")
    parser.add_argument("--quick", action="store_true", help="a smoke test: 2 s, 1 seed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="folder for true pictures above drawn ones")
    options = parser.parse_args()
    if options.quick:
        options.budget, options.seeds, options.captions = 2.0, 1, 64
    systems = options.systems.split(",")
    if systems != ["limner"]:
        rerun_in(peer_python("dalle-pytorch", DALLE_PYTORCH, DALLE_PYTORCH_DEPS))
    known = json.loads(options.json.read_text()) if options.json and options.json.is_file() else []
    runs = [Run(**{**each, "steps": tuple(each["steps"])}) for each in known]
    judge = Judge()
    for seed in range(options.seeds):
        for name in systems:
            key = (name, seed, options.budget, options.captions)
            if key in [(each.system, each.seed, each.budget, each.captions) for each in runs]:
                continue
            found, sheet = run(name, seed, judge, options)
            runs.append(found)
            print(f"{name} seed {seed}: exact {found.exact:.3f}, {found.wall:.0f} s", flush=True)
            if options.json:
                options.json.write_text(json.dumps([asdict(each) for each in runs], indent=1))
            if options.sheet:
                save_sheet(sheet, options.sheet / f"{name}-{seed}.png")
    table(runs)


def save_sheet(pixels: Pixels, path: Path) -> None:
    """Write pixels as a PNG, three times as large."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image.resize((image.width * 3, image.height * 3), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
