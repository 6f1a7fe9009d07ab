"""Prompts of files (one a line, PartiPrompts, GenEval) and of folders, with the folders' pictures.

PartiPrompts (Yu 2022, arXiv 2206.10789) is a .tsv with the columns Prompt, Category and Challenge;
GenEval (Ghosh 2023, arXiv 2310.11513) a .jsonl with the keys prompt and tag. The category or tag
becomes the prompt's kind, by which scores are split.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limner.data.sources.folders import PICTURES
from limner.data.sources.opening import open_source
from limner.errors import DataError, UsageError, quote
from limner.evaluate.prompts.conditions import Reference
from limner.images import open_image
from limner.text.normalise import normalise_prompt

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.data.sources.base import Sample

ANY = "all"  # the kind of prompts that a file does not sort

Lines = Sequence[tuple[int, str]]  # line number, text


@dataclass(frozen=True)
class PromptItem:
    """One prompt, normalised, and the kind that its file puts it in."""

    text: str
    kind: str = ANY


def parse_prompts(lines: Lines, name: str) -> list[PromptItem]:
    """Return the prompts of a file's lines; the ending of `name` tells the form.

    Raises DataError, with the line, for what is not of the form and for a prompt that can't be
    read.
    """
    suffix = name.lower().rpartition(".")[2]
    if suffix == "tsv":
        rows = _table_rows(lines, name)
    elif suffix == "jsonl":
        # What GenEval's detectors would judge is left out: limner has no such detector.
        rows = [(number, *_object_row(number, line, name)) for number, line in lines]
    else:
        rows = [(number, line, ANY) for number, line in lines]
    found = []
    for number, text, kind in rows:
        try:
            found.append(PromptItem(normalise_prompt(text), " ".join(kind.split()) or ANY))
        except UsageError as error:
            raise DataError(f"{quote(name, 100)} line {number}: {error}") from error
    return found


def _table_rows(lines: Lines, name: str) -> list[tuple[int, str, str]]:
    head = [cell.strip().lower() for cell in lines[0][1].split("\t")] if lines else []
    if "prompt" not in head:
        raise DataError(
            f"{quote(name, 100)} has no column Prompt; expected the first line of PartiPrompts: "
            "Prompt, Category, Challenge, Note, with tabs between"
        )
    rows = []
    for number, line in lines[1:]:
        cells = dict(zip(head, map(_unquote, line.split("\t")), strict=False))
        rows.append((number, cells.get("prompt", ""), cells.get("category", "")))
    if not rows:
        raise DataError(f"{quote(name, 100)} holds no prompt; write one on each line")
    return rows


def _unquote(cell: str) -> str:
    """Undo what spreadsheets do to a cell with quotation marks: put it in more of them."""
    text = cell.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    return text


def _object_row(number: int, line: str, name: str) -> tuple[str, str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("prompt"), str):
        raise DataError(
            f"{quote(name, 100)} line {number} is no prompt; expected a JSON object with the key "
            "prompt, and tag for its kind"
        )
    return found["prompt"], str(found.get("tag", ""))


def captioned(place: str, count: int, seed: int) -> tuple[list[PromptItem], list[Image], Reference]:
    """Return up to `count` captions of a source, chosen by `seed`, and their own pictures.

    Raises DataError for a source that can't be opened, ImageError for a bad picture.
    """
    source = open_source(place)
    samples: Sequence[Sample] = list(source)
    rows = sorted(random.Random(seed).sample(range(len(samples)), min(count, len(samples))))
    chosen = [samples[row] for row in rows]
    images = [each.image for each in chosen]
    asked = [PromptItem(normalise_prompt(each.captions[0])) for each in chosen]
    digest = _digest((each.key, image) for each, image in zip(chosen, images, strict=True))
    return asked, images, Reference(place, len(images), digest)


def picture_files(place: str | Path) -> list[Path]:
    """Return the picture files of a folder and of those in it, in order; hidden ones are left out.

    Raises DataError for a folder without pictures.
    """
    folder = Path(place)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not files:
        raise DataError(
            f"{quote(str(place), 120)} has no picture; give a folder with PNG, JPEG or WebP files"
        )
    return files


def pictures_in(place: str | Path, count: int, seed: int = 0) -> tuple[list[str], list[Image]]:
    """Return names and pictures of up to `count` files of a folder, chosen by `seed`, in order."""
    files = picture_files(place)
    rows = sorted(random.Random(seed).sample(range(len(files)), min(count, len(files))))
    chosen = [files[row] for row in rows]
    return [str(path.relative_to(place)) for path in chosen], [open_image(each) for each in chosen]


def reference_of(place: str, names: Sequence[str], images: Sequence[Image]) -> Reference:
    """Return how pictures of a folder are named in a report."""
    return Reference(place, len(images), _digest(zip(names, images, strict=True)))


def _digest(pictures: Iterable[tuple[str, Image]]) -> str:
    found = hashlib.sha256()
    for name, image in pictures:
        found.update(f"{name}\0{image.width}x{image.height}\0".encode("utf-8", "backslashreplace"))
        found.update(image.tobytes())
    return found.hexdigest()
