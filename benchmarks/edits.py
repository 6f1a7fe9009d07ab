"""What `limner edit` is worth: objects of held-out scenes masked, and redrawn by the caption.

    python benchmarks/edits.py [MODEL] [--count 24] [--first 0] [--candidates 8] [--seed S]
                               [--kinds box,free] [--sheet FILE.png] [--json FILE] [--best-of N]
                               [--quick]
    python benchmarks/edits.py [MODEL] --wordless [--count 24] [--sheet FILE.png]
    python benchmarks/edits.py --rows PIECE.json PIECE.json ...

Of each scene one object is masked at random: its box, or free-form, as a brush goes over it. The
caption is given, and the picture edited. The scorer of `limner eval` says whether the object is
there as asked, and whether the rest (background and the other object) still is. "anew" draws whole
pictures by the caption for as much processor time, one at least, and takes the one that the scorer
likes best, which no person has at hand; "pasted" lays the hole of these into the picture. A seam is
the mean step between neighbours across the edge of the hole, over that between neighbours inside
it. With --wordless nothing is asked for: the object should be gone, no other be there, and the
rest stay. With --json the scenes are kept, so that a long run can be one of several pieces.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter

from limner.data.scenes.backgrounds import background
from limner.data.scenes.graph import Graph
from limner.data.scenes.scene import Box, layout, render
from limner.evaluate.resampling import Estimate, bootstrap_mean, share_of
from limner.evaluate.scenes.detection import Detections, SceneDetector
from limner.evaluate.scenes.judging import colour_of
from limner.evaluate.scenes.prompts import Prompt, collect_prompts
from limner.images import grid, to_images, to_tensor
from limner.registry import load, load_clip
from limner.types import Edit, Request

Pixels = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
LEAST_KEPT = 0.1  # of a picture: a scene whose mask leaves less is passed over
Row = dict[str, Any]
TRUTH, WHOLE, EDITED, ANEW, PASTED = "true picture", "one drawing", "edited", "anew", "pasted"


@dataclass(frozen=True)
class Case:
    """A scene with a hole over one object."""

    prompt: Prompt
    picture: Image.Image
    mask: Image.Image
    thing: int
    kind: str


@dataclass
class Marks:
    """What the scorer and the pixels say of one picture."""

    object: bool
    rest: bool
    colour: bool | None = None
    equal: bool | None = None
    seam: float | None = None
    moved: float | None = None  # of kept pixels, mean absolute, of 255


@dataclass
class Found:
    """One case: its marks by way, the pictures, and the seconds of the edit."""

    case: Case
    marks: dict[str, Marks] = field(default_factory=dict)
    pictures: list[Image.Image] = field(default_factory=list)
    seconds: float = 0.0  # of processor time
    drawn: int = 0  # pictures drawn anew in that time

    def row(self) -> Row:
        """Return what is kept of it."""
        marks = {way: asdict(each) for way, each in self.marks.items()}
        about = {"prompt": self.case.prompt.english, "kind": self.case.kind}
        return {**about, "seconds": self.seconds, "drawn": self.drawn, "marks": marks}


def make_cases(
    count: int, seed: int, size: int, kinds: tuple[str, ...], first: int = 0
) -> list[Case]:
    """Return `count` held-out scenes from number `first` on, each with a random object masked."""
    cases, asked = list[Case](), min(2 * (first + count) + 10, 10_000)
    for number, prompt in enumerate(collect_prompts("held_out", asked, seed)):
        rng = np.random.default_rng((seed, number))
        boxes = layout(prompt.graph, size)
        box, kind = boxes[int(rng.integers(len(boxes)))], kinds[number % len(kinds)]
        picture = render(prompt.graph, size)
        mask = box_mask(box, size) if kind == "box" else free_mask(picture, prompt.graph, box, rng)
        if mask.mean() > 1 - LEAST_KEPT:
            continue
        hole = Image.fromarray(mask.astype(np.uint8) * 255)
        cases.append(Case(prompt, Image.fromarray(picture), hole, box.thing, kind))
        if len(cases) == first + count:
            break
    return cases[first:]


def box_mask(box: Box, size: int) -> Flags:
    """Return the mask of an object's box."""
    mask = np.zeros((size, size), np.bool_)
    mask[box.top : box.top + box.side, box.left : box.left + box.side] = True
    return mask


def free_mask(picture: Pixels, graph: Graph, box: Box, rng: np.random.Generator) -> Flags:
    """Return a mask as somebody paints it: the object with some of what is around it."""
    size = len(picture)
    bare = background(graph.background, size).astype(int)
    drawn = (np.abs(picture.astype(int) - bare).max(-1) > 8) & box_mask(box, size)
    grown = Image.fromarray(drawn.astype(np.uint8) * 255)
    grown = grown.filter(ImageFilter.MaxFilter(2 * (size // 32) + 1))
    # Wobbly: a blob whose radius goes up and down around the object.
    rows, columns = (
        np.mgrid[:size, :size] - (np.array([box.top, box.left]) + box.side / 2)[:, None, None]
    )
    angle = np.arctan2(rows, columns)
    waves = sum(
        rng.uniform(0.02, 0.1) * np.sin(k * angle + rng.uniform(0, 6.28)) for k in range(1, 5)
    )
    blob = np.hypot(rows, columns) < box.side * (0.45 + waves)
    return (np.asarray(grown) > 0) | blob


def judge(case: Case, shown: Detections) -> Marks:
    """Return whether the masked object, its colour and the rest are as asked."""
    asked, thing = case.prompt.graph, case.prompt.graph.things[case.thing]
    seen = {each.noun: each for each in shown.things}
    there = thing.noun in seen
    rest = shown.background == asked.background
    if asked.kind == "pair":
        rest &= all(each.noun in seen for each in asked.things if each.noun != thing.noun)
    else:
        there &= len(shown.things) == 1
        if asked.kind == "count":
            there &= seen[thing.noun].count == thing.count if there else False
    colour = None
    if thing.colour is not None:
        colour = thing.noun in seen and colour_of(seen[thing.noun]) == thing.colour
    return Marks(there, rest, colour)


def seam_of(picture: Pixels, mask: Flags) -> float:
    """Return the mean step across the edge of a hole over the mean step inside it."""
    across, inside = list[Any](), list[Any]()
    for axis in (0, 1):
        step = np.abs(np.diff(picture.astype(float), axis=axis)).mean(-1)
        one = np.take(mask, range(mask.shape[axis] - 1), axis)
        other = np.take(mask, range(1, mask.shape[axis]), axis)
        across.append(step[one != other])
        inside.append(step[one & other])
    return float(np.concatenate(across).mean() / max(np.concatenate(inside).mean(), 1e-6))


def measure(case: Case, image: Image.Image, detector: SceneDetector) -> Marks:
    """Return all marks of one picture."""
    (shown,) = detector.detect(to_tensor([image]))
    marks = judge(case, shown)
    mask, before, now = (np.asarray(each) for each in (case.mask, case.picture, image))
    kept = mask == 0
    apart = np.abs(before.astype(int) - now.astype(int))[kept]
    marks.equal, marks.moved = bool((apart == 0).all()), float(apart.mean())
    marks.seam = seam_of(now, mask > 0)
    return marks


def best(marks: list[Marks]) -> int:
    """Return which of several pictures the scorer likes best."""
    return max(range(len(marks)), key=lambda at: (marks[at].object + marks[at].rest, -at))


def run(pipeline: Any, clip: Any, told: argparse.Namespace) -> list[Found]:
    """Edit every case, and draw anew for as long."""
    detector, found = SceneDetector(), list[Found]()
    kinds = tuple(told.kinds.split(","))
    cases = make_cases(told.count, told.seed, pipeline.size, kinds, told.first)
    for number, case in enumerate(cases, told.first):
        text, seed = case.prompt.english, told.seed * 100_000 + number * 100
        began = time.process_time()
        request = Request(
            text, n=told.best_of, seed=seed, image=case.picture, mask=case.mask,
            edit=Edit(candidates=told.candidates),
        )  # fmt: skip
        *_, last = pipeline.stream(request)
        edits = to_images(last.images)
        chosen = 0
        if told.best_of > 1:
            chosen = int(clip.compare(edits, [text])[:, 0].argmax())
        seconds = time.process_time() - began
        # At equal cost: as many whole drawings as the time of the edit allows, one at least.
        until = time.process_time() + (0 if told.quick else seconds)
        whole = list[Image.Image]()
        while not whole or time.process_time() < until:
            *_, drawn = pipeline.stream(Request(text, seed=seed + len(whole)))
            whole += to_images(drawn.images)
        pasted = [Image.composite(each, case.picture, case.mask) for each in whole]
        anew, laid = ([measure(case, each, detector) for each in some] for some in (whole, pasted))
        marks = {
            TRUTH: measure(case, case.picture, detector),
            WHOLE: anew[0],
            EDITED: measure(case, edits[chosen], detector),
            ANEW: anew[best(anew)],
            PASTED: laid[best(laid)],
        }
        grey = Image.composite(Image.new("RGB", case.mask.size, "grey"), case.picture, case.mask)
        shown = [case.picture, grey, edits[chosen], whole[0], pasted[best(laid)]]
        found.append(Found(case, marks, shown, seconds, len(whole)))
        print(f"{number + 1}: {text} [{case.kind}] {marks[EDITED]}", flush=True)
    return found


def run_wordless(pipeline: Any, told: argparse.Namespace) -> None:
    """Edit every case without words, as an edit does and by the prior alone, and print shares."""
    detector, tiles = SceneDetector(), list[Image.Image]()
    right: dict[str, list[tuple[bool, bool]]] = {"edited": [], "by the prior alone": []}
    cases = make_cases(told.count, told.seed, pipeline.size, tuple(told.kinds.split(",")))
    for number, case in enumerate(cases):
        tiles += [case.picture, Image.composite(Image.new("RGB", case.mask.size), *_both(case))]
        # All of a hole by strength is what the prior draws.
        for way, strength in zip(right, (None, 1.0), strict=True):
            request = Request("", seed=number, image=case.picture, mask=case.mask,
                              edit=Edit(strength=strength))  # fmt: skip
            *_, last = pipeline.stream(request)
            tiles += to_images(last.images)
            (shown,) = detector.detect(to_tensor(tiles[-1:]))
            right[way].append(judge_wordless(case, shown))
    for way, each in right.items():
        gone, rest = (share_of([one[at] for one in each]) for at in (0, 1))
        both = share_of([all(one) for one in each])
        told_of = zip(("gone", "rest", "both"), (gone, rest, both), strict=True)
        cells = [f"{name} {found.value:.3f} ({found.interval('.3f')})" for name, found in told_of]
        print(f"n={len(each)} {way}".ljust(26), "  ".join(cells))
    if told.sheet:
        grid(tiles, columns=16).save(told.sheet)


def _both(case: Case) -> tuple[Image.Image, Image.Image]:
    return case.picture, Image.eval(case.mask, lambda value: 255 - value)


def judge_wordless(case: Case, shown: Detections) -> tuple[bool, bool]:
    """Return whether the masked object alone has gone, and whether the rest is as it was."""
    wanted = {each.noun: each.count for each in case.prompt.graph.things}
    wanted[case.prompt.graph.things[case.thing].noun] -= 1
    left = {noun: count for noun, count in wanted.items() if count}
    return {each.noun: each.count for each in shown.things} == left, (
        shown.background == case.prompt.graph.background
    )


def table(rows: list[Row]) -> dict[str, dict[str, Estimate]]:
    """Return every share and mean with its interval, by way."""
    found = dict[str, dict[str, Estimate]]()
    for way in (TRUTH, WHOLE, EDITED, ANEW, PASTED):
        each = [Marks(**row["marks"][way]) for row in rows]
        found[way] = {
            "object": share_of([mark.object for mark in each]),
            "rest": share_of([mark.rest for mark in each]),
            "both": share_of([mark.object and mark.rest for mark in each]),
            "equal": share_of([bool(mark.equal) for mark in each]),
            "seam": bootstrap_mean([mark.seam or 0.0 for mark in each]),
            "moved": bootstrap_mean([mark.moved or 0.0 for mark in each]),
        }
        if coloured := [mark.colour for mark in each if mark.colour is not None]:
            found[way]["colour"] = share_of(coloured)
    return found


def gain(rows: list[Row], other: str) -> Estimate:
    """Return by how much more often than another way, scene by scene, edits are all right."""
    right = [
        [row["marks"][way]["object"] and row["marks"][way]["rest"] for way in (EDITED, other)]
        for row in rows
    ]
    return bootstrap_mean([float(one) - float(another) for one, another in right])


def show(rows: list[Row]) -> None:
    """Print the table, of each kind of hole and of all."""
    for kind in (*dict.fromkeys(row["kind"] for row in rows), "all"):
        some = [row for row in rows if kind in ("all", row["kind"])]
        for way, figures in table(some).items():
            cells = [
                f"{name} {each.value:.3f} ({each.interval('.3f')})"
                for name, each in figures.items()
            ]
            print(f"{kind} n={len(some)} {way}".ljust(26), "  ".join(cells))
    for other in (WHOLE, ANEW, PASTED):
        more = gain(rows, other)
        print(f"both, more than {other}: {more.value:+.3f} ({more.interval('+.3f')})")
    seconds, drawn = (sum(row[name] for row in rows) / len(rows) for name in ("seconds", "drawn"))
    print(
        f"{seconds:.2f} s of processor time an edit, in which {drawn:.2f} pictures are drawn anew"
    )


def write_sheet(found: list[Found], path: Path, scale: int = 2) -> None:
    """Write the pictures: as they were, masked, edited, one drawing, pasted; wrong ones framed."""
    tiles = list[Image.Image]()
    for one in found:
        for number, image in enumerate(one.pictures):
            large = image.resize((image.width * scale, image.height * scale), 0)
            mark = one.marks[EDITED]
            if number == 2 and not (mark.object and mark.rest):
                framed = Image.new("RGB", large.size, "red")
                framed.paste(large.crop((3, 3, large.width - 3, large.height - 3)), (3, 3))
                large = framed
            tiles.append(large)
    grid(tiles, columns=15).save(path)


def main() -> None:
    """Measure, or read what was measured; print the table, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--count", type=int, default=24, help="scenes")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--best-of", type=int, default=1, help="edits of which CLIP picks one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="box,free")
    parser.add_argument("--wordless", action="store_true", help="take objects away")
    parser.add_argument("--quick", action="store_true", help="draw one picture anew, not many")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path, help="keep the scenes")
    parser.add_argument("--rows", type=Path, nargs="+", help="scenes of earlier pieces")
    told = parser.parse_args()
    if told.wordless:
        run_wordless(load(told.model), told)
        return
    if told.rows:
        rows = [row for each in told.rows for row in json.loads(each.read_text("utf-8"))]
    else:
        torch.set_num_threads(1)
        clip = load_clip("clip") if told.best_of > 1 else None
        found = run(load(told.model), clip, told)
        rows = [each.row() for each in found]
        if told.sheet:
            write_sheet(found, told.sheet)
    show(rows)
    if told.json:
        told.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
