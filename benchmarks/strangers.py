"""What a model draws for people who never saw its captions: the prompts of strangers.tsv.

python benchmarks/strangers.py [--model default] [--seeds 3] [--verbatim] [--file TABLE]

Each prompt is drawn with `limner.draw` at several seeds, and what the pictures show is read as the
scene score reads it. Printed by kind of prompt: how often every object named is in the picture,
colour, count and background where asked, and how many pictures show less than was asked with no
note. An interval takes all pictures of a prompt as one trial, so that it is rather too wide.
It knows one style of drawing: prompts that ask for others are not in the table. The reading of
prompts was mended with the failures of `--file benchmarks/strangers_first.tsv` in view, so that
what it measures is no longer blind; nobody who wrote strangers.tsv had seen that reading.

Columns of the table: `objects` are nouns that must be in the picture, joined by "+"; `count` and
`colour` belong to them in this order; "|" stands between answers that are as good. `background`
with "+" is several places, of which a picture can show one, or a place by night. `beyond` is what
is asked and no picture of the model can show; `without` what must not be there.
"""

import argparse
import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import limner
from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.words import draws_wide
from limner.errors import LimnerError
from limner.evaluate.resampling import wilson
from limner.evaluate.scenes.detection import Detections, SceneDetector
from limner.evaluate.scenes.judging import colour_of
from limner.images import to_tensor

TABLE = Path(__file__).with_suffix(".tsv")
MOST = 9  # objects of a kind in one picture
BY_NIGHT, KNOWN = "night", frozenset(backgrounds(wide=True))
ASPECTS = ("objects", "any", "colour", "count", "background", "told")
HEADINGS = {
    "objects": "all objects named",
    "any": "one of them",
    "colour": "colour",
    "count": "count",
    "background": "background",
    "told": "as asked, or a note",
}

Marks = dict[str, bool]


@dataclass(frozen=True)
class Row:
    """One prompt and what its picture must show; each object is a set of nouns that will do."""

    prompt: str
    kind: str
    language: str
    objects: tuple[frozenset[str], ...]
    counts: tuple[str, ...]  # "" where not told, "many" for two or more
    colours: tuple[frozenset[str], ...]  # none where not told
    backgrounds: frozenset[str]  # one of them
    beyond: bool  # more is asked than any picture of the model shows
    without: frozenset[str]


@dataclass(frozen=True)
class Answer:
    """What is right in one picture of a prompt, and whether it came with a note or was refused."""

    row: Row
    marks: Marks
    noted: bool
    refused: bool = False


def read_rows(path: Path = TABLE) -> list[Row]:
    """Return the rows of a table of prompts."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_row(each) for each in csv.DictReader(file, delimiter="\t", quoting=3)]


def _row(cells: Mapping[str, str]) -> Row:
    objects = tuple(frozenset(each.split("|")) for each in _parts(cells["objects"]))
    counts = tuple(cells["count"].split("+")) if cells["count"] else ()
    places = _parts(cells["background"])
    too_many = any(count.isdigit() and int(count) > MOST for count in counts)
    nothing = not objects and not places
    several = len(objects) > 1 and bool(counts)  # a pair has one of each
    beyond = bool(cells["beyond"]) or too_many or nothing or several or len(places) > 1
    # A place and the night are one place of the wide world, which shows more than one of the two.
    by_night = [f"{each} at {BY_NIGHT}" for each in places if BY_NIGHT in places]
    return Row(
        prompt=cells["prompt"],
        kind=cells["kind"],
        language=cells["language"],
        objects=objects,
        counts=counts,
        colours=tuple(frozenset(filter(None, c.split("|"))) for c in cells["colour"].split("+")),
        backgrounds=frozenset("|".join([*places, *by_night]).split("|")) & KNOWN,
        beyond=beyond,
        without=frozenset(_parts(cells["without"])),
    )


def _parts(cell: str) -> list[str]:
    return cell.split("+") if cell else []


def mark(row: Row, shown: Detections) -> Marks:
    """Return what is right in a picture that shows this; an aspect not asked for is absent.

    "whole" says that all of it is there, of what a picture can show at all.
    """
    things = {thing.noun: thing for thing in shown.things}
    found = [next((things[noun] for noun in each if noun in things), None) for each in row.objects]
    marks: Marks = {}
    if row.objects:
        marks |= {"objects": None not in found, "any": any(found)}
    colours = [
        thing is not None and colour_of(thing) in colour
        for thing, colour in zip(found, row.colours, strict=False)
        if colour
    ]
    counts = [
        thing is not None and (thing.count > 1 if count == "many" else str(thing.count) == count)
        for thing, count in zip(found, row.counts, strict=False)
        if count
    ]
    if colours:
        marks["colour"] = all(colours)
    if counts:
        marks["count"] = all(counts)
    if row.backgrounds:
        marks["background"] = shown.background in row.backgrounds
    if row.without:
        marks["without"] = not row.without & set(things)
    return marks | {"whole": all(marks.values()) and not row.beyond}


def answers_of(
    rows: Iterable[Row],
    pipeline: Any,
    detector: SceneDetector,
    seeds: int,
    options: Mapping[str, Any],
) -> Iterator[Answer]:
    """Yield the answer of every picture; a prompt that is refused in words is a note."""
    for row in rows:
        try:
            pictures = limner.draw(row.prompt, model=pipeline, n=seeds, seed=0, **options)
        except LimnerError:
            for _ in range(seeds):
                yield Answer(row, mark(row, Detections("")), noted=True, refused=True)
            continue
        shown = detector.detect(to_tensor([picture.image for picture in pictures]))
        for picture, reading in zip(pictures, shown, strict=True):
            yield Answer(row, mark(row, reading), noted=bool(picture.notes))


def share(answers: Iterable[Answer], aspect: str) -> dict[str, float] | None:
    """Return the share of pictures right in an aspect and its interval; None where none asks.

    "told" is right where the picture shows all that was asked or a note came with it. `n` is the
    number of prompts, on which the interval rests.
    """
    by_prompt: dict[str, list[bool]] = {}
    for each in answers:
        right = each.marks["whole"] or each.noted if aspect == "told" else each.marks.get(aspect)
        if right is not None:
            by_prompt.setdefault(each.row.prompt, []).append(right)
    if not by_prompt:
        return None
    total = sum(sum(marks) / len(marks) for marks in by_prompt.values())
    low, high = wilson(total, len(by_prompt))
    return {"value": total / len(by_prompt), "low": low, "high": high, "n": len(by_prompt)}


def table(answers: list[Answer]) -> dict[str, dict[str, Any]]:
    """Return shares by group of prompts and aspect: by kind, by language, all, and beyond."""
    groups = {"all": answers}
    for group_of in (_kind, _language, _reach):
        for each in answers:
            groups.setdefault(group_of(each.row), []).append(each)
    return {
        name: {aspect: share(group, aspect) for aspect in ASPECTS}
        | {"silent": sum(not (each.marks["whole"] or each.noted) for each in group),
           "less": sum(not each.marks["whole"] for each in group),
           "pictures": len(group)}
        for name, group in groups.items()
    }  # fmt: skip


def _kind(row: Row) -> str:
    return row.kind


def _language(row: Row) -> str:
    return {"en": "English", "zh": "Chinese"}[row.language]


def _reach(row: Row) -> str:
    return "asks for more than can be drawn" if row.beyond else "can be drawn whole"


def show(found: dict[str, dict[str, Any]]) -> None:
    """Print the table: a share, its interval and the number of prompts in each cell."""
    width = max(map(len, found))
    print(" " * width, *(HEADINGS[aspect].ljust(22) for aspect in ASPECTS), "less, of it silent")
    for name, row in found.items():
        cells = [
            "-".ljust(22)
            if (each := row[aspect]) is None
            else f"{each['value']:.2f} ({each['low']:.2f}-{each['high']:.2f}) {each['n']}".ljust(22)
            for aspect in ASPECTS
        ]
        print(name.ljust(width), *cells, f"{row['less']}, {row['silent']} of {row['pictures']}")


def main() -> None:
    """Draw every prompt, read the pictures and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="default")
    parser.add_argument("--seeds", type=int, default=3, help="pictures of each prompt")
    parser.add_argument("--verbatim", action="store_true", help="draw the words as they are")
    parser.add_argument("--file", type=Path, default=TABLE, help="a table of prompts")
    parser.add_argument("--kind", help="prompts of this kind alone")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    rows = [row for row in read_rows(told.file) if told.kind in (None, row.kind)]
    pipeline = limner.load(told.model)
    options: dict[str, Any] = {"verbatim": True} if told.verbatim else {}
    limner.draw("a red apple", model=pipeline, seed=0, **options)  # an unknown option ends it here
    detector = SceneDetector(size=pipeline.size, wide=draws_wide(pipeline.words))
    found = []
    for answer in answers_of(rows, pipeline, detector, told.seeds, options):
        found.append(answer)
        if len(found) % (60 * told.seeds) == 0:
            print(f"{len(found)} of {len(rows) * told.seeds} pictures", flush=True)
    shares = table(found)
    show(shares)
    print(f"{sum(each.refused for each in found)} of these pictures were refused in words")
    if told.json:
        told.json.write_text(json.dumps(shares, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
