"""Pictures of a folder: with captions where prompts come of them, else without."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limner.data.sources.folders import PICTURES
from limner.data.sources.opening import open_source
from limner.errors import DataError, quote
from limner.evaluate.prompts.conditions import Reference
from limner.evaluate.prompts.prompt_files import PromptItem
from limner.images import open_image
from limner.text.normalise import normalise_prompt

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.data.sources.opening import Sample


def captioned(place: str, count: int, seed: int) -> tuple[list[PromptItem], list[Image], Reference]:
    """Return up to `count` captions of a source, chosen by `seed`, and their own pictures.

    Of several captions of a picture the first is asked for. Raises DataError for a source that
    can't be opened, and ImageError for a picture that can't be read.
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
