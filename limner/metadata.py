"""What a picture of limner's says of itself, read strictly: anybody may have written it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import DataError, UsageError, quote
from limner.finish.provenance.xmp import read_packet
from limner.images import PHOTO, PICTURE_ENDINGS, decode_image, read_bytes, read_xmp, texts_in
from limner.options import OPTIONS, Sampling, read_edit, read_finish
from limner.types import SEED_LIMIT, Picture, Request

if TYPE_CHECKING:
    from PIL.Image import Image

OWN, OTHERS = "limner", "parameters"  # the text chunks of `limner.images.png_texts`
TASK = "task"  # of settings: what was done with a picture that was given, if not varied


@dataclass(frozen=True)
class Metadata:
    """The `image` of a file, and what the file says of how it was drawn.

    `settings` are plain JSON values, as of a Picture.
    """

    image: Image
    prompt: str
    seed: int
    model: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    adapters: tuple[tuple[str, str, float], ...] = ()  # name, SHA-256 and weight of each

    def request(
        self,
        accepted: Any,
        *,
        n: int,
        seed: int,
        image: Image | None = None,
        mask: Image | None = None,
    ) -> Request:
        """Return what was asked for, with the sampling values that the dataclass `accepted` has.

        `image` and `mask` are what it was made from. UsageError for a value out of range.
        """
        # A picture of another family has values that this model does not take; they say nothing.
        has = {each.name for each in fields(accepted)}
        stated = {name: value for name, value in self.settings.items() if name in has}
        return Request(
            self.prompt,
            n=n,
            seed=seed,
            guidance=stated.get("guidance"),
            sampling=Sampling(**{name: stated.get(name) for name in OPTIONS}),
            image=image,
            mask=mask,
            edit=None if image is None else read_edit(self.settings),
            verbatim=self.settings.get("verbatim") is True,
            tile=self.settings.get("tile") is True,
            finish=read_finish(self.settings),
        )


def read_metadata(path: str | Path) -> Metadata | None:
    """Return what a picture's file says of itself, None where limner wrote nothing into it.

    Raises ImageError for what is no picture, DataError where what it says makes no sense.
    """
    return metadata_in(read_bytes(path), str(path))


def metadata_in(data: bytes, name: str) -> Metadata | None:
    """Return what `read_metadata` does of the bytes of a file; errors say `name`."""
    image = decode_image(data, name, PHOTO)
    # The picture comes first, so that what is no picture is told as that.
    text = _texts(data, name).get(OWN)
    if text is None:
        return None
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError):
        stated = None
    seed = stated.get("seed") if isinstance(stated, dict) else None
    if (
        not isinstance(stated, dict)
        or not all(isinstance(stated.get(name), str) for name in ("prompt", "model"))
        # type, not isinstance: true and false are ints too.
        or type(seed) is not int
        or not 0 <= seed < SEED_LIMIT
    ):
        raise DataError(
            f"what {quote(name, 200)} says of how it was drawn is damaged; it names no "
            "prompt, seed and model"
        )
    about = {"prompt", "seed", "model", "notes"}
    notes = stated.get("notes")
    return Metadata(
        image,
        stated["prompt"],
        seed,
        stated["model"],
        {name: value for name, value in stated.items() if name not in about},
        tuple(map(str, notes)) if isinstance(notes, list) else (),
        tuple(_adapters(stated.get("adapters"))),
    )


def metadata_of(picture: Picture) -> Metadata:
    """Return what a picture says of itself, as `read_metadata` does of its file."""
    adapters = tuple(_adapters(picture.settings.get("adapters")))
    notes = tuple(map(str, picture.notes))
    about = (picture.image, picture.prompt, picture.seed, picture.model, picture.settings)
    return Metadata(*about, notes, adapters)


def read_recipe(path: str | os.PathLike[str]) -> Metadata:
    """Return what a picture's file says of itself; DataError where it says nothing."""
    found = read_metadata(Path(path))
    if found is None:
        raise DataError(
            f"{quote(str(path), 200)} says nothing of how it was drawn; give a PNG of limner's "
            "that was written with its metadata"
        )
    return found


def recipe_of(given: str | os.PathLike[str] | Picture) -> Metadata | None:
    """Return what a drawn picture, or its file, says of itself; None for a prompt.

    A text that ends as a picture's file does, as in .png, is the path of one. Raises as
    `read_recipe`, and UsageError for a picture that varies another.
    """
    if isinstance(given, str) and not given.lower().endswith(PICTURE_ENDINGS):
        return None
    if isinstance(given, str | os.PathLike):
        said, shown = read_recipe(given), quote(str(given), 200)
    else:
        said, shown = metadata_of(given), "the picture"
    if "image_sha256" in said.settings:
        raise UsageError(
            f"{shown} varies another picture; give one that was drawn from a prompt alone"
        )
    return said


def check_unasked(asked: Mapping[str, Any]) -> None:
    """Raise UsageError for what is asked of a picture that says itself how it was drawn."""
    for name, value in asked.items():
        if value is not None:
            raise UsageError(
                f"{name} is {quote(value)}, but the picture itself says how it was "
                f"drawn; leave {name} out",
                param=name,
            )


def _adapters(stated: object) -> Iterator[tuple[str, str, float]]:
    for each in stated if isinstance(stated, list) else []:
        if isinstance(each, dict) and isinstance(each.get("weight"), int | float):
            yield str(each.get("name")), str(each.get("sha256")), float(each["weight"])


def texts_of(path: str | Path) -> dict[str, str]:
    """Return the text chunks of a PNG, or those that limner wrote into the XMP of another file."""
    return _texts(read_bytes(path), str(path))


def _texts(data: bytes, name: str) -> dict[str, str]:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return texts_in(data, name)
    return dict(read_packet(read_xmp(data, name)).texts)
