"""From drawn pictures to the files and objects of an answer."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from limner.finish.provenance.mark import add_mark
from limner.finish.provenance.saving import keeps_pixels
from limner.images import encode_png
from limner.server.asking import Ask
from limner.server.catalogue import Pipeline
from limner.server.hooks import Hooks
from limner.text.notes import Note
from limner.types import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

HEADER_LIMIT = 1500  # characters of the header that tells notes


@dataclass(frozen=True)
class Finished:
    """A picture as it is sent."""

    picture: Picture
    data: bytes
    number: int | None = None  # in the gallery
    notes: tuple[Note, ...] = ()  # of what became of it after it was drawn

    @property
    def base64(self) -> str:
        """The file as text."""
        return base64.b64encode(self.data).decode()


def finish(
    picture: Picture, ask: Ask, hooks: Hooks, *, metadata: bool = False, mark: bool = True
) -> Finished:
    """Return a picture at the size, in the format and past the hooks that were asked for.

    With `metadata` the file says how it was drawn, the prompt too; with `mark` its pixels, and its
    XMP, say that a model drew it, as `limner.finish.provenance` has it.
    """
    drawn, marks = picture.image, mark and not keeps_pixels(picture.settings)
    # A mark lies in as many cells whatever the size, so it is made where that is quick; a margin
    # would move it.
    alike = drawn.width * ask.pixels[1] == drawn.height * ask.pixels[0]
    image = resize(add_mark(drawn) if marks and alike else drawn, ask.pixels)
    image = hooks.pass_picture(add_mark(image) if marks and not alike else image)
    picture = replace(picture, image=image)
    data = picture.to_bytes(
        ask.kind.upper(), metadata=metadata, mark=False, xmp=mark, quality=max(1, ask.compression)
    )
    return Finished(picture, hooks.pass_file(data, ask.kind))


def encode(image: Image, ask: Ask) -> bytes:
    """Return the bytes of a file without any metadata."""
    if ask.kind == "png":
        return encode_png(image)
    buffer = io.BytesIO()
    image.save(buffer, format=ask.kind.upper(), quality=max(1, ask.compression))
    return buffer.getvalue()


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Return a picture of a size: as large as fits, by Lanczos, the rest in the edge's colour."""
    from PIL import Image, ImageStat

    if image.size == size:
        return image
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    grown = image.resize(inner, Image.Resampling.LANCZOS)
    if inner == size:
        return grown
    # The sides that will touch the margin say what colour it has.
    width, height = image.size
    if inner[0] < size[0]:
        edges = [image.crop((0, 0, 1, height)), image.crop((width - 1, 0, width, height))]
    else:
        edges = [image.crop((0, 0, width, 1)), image.crop((0, height - 1, width, height))]
    means = [ImageStat.Stat(each).mean for each in edges]
    colour = tuple(round(sum(each) / len(each)) for each in zip(*means, strict=True))
    whole = Image.new("RGB", size, colour)
    whole.paste(grown, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return whole


def usage(ask: Ask, pipeline: Pipeline, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return the tokens that were read and drawn; a model that draws from noise draws none."""
    texts = {each.revised_prompt or each.prompt for each in pictures}
    read = 0
    for text in texts:
        tokens = len(pipeline.tokenizer.encode(text)) if text else 0
        read += min(tokens, pipeline.tokenizer.room(pipeline.text_length))
    drawn = len(pictures) * image_tokens(pipeline)
    return {
        "input_tokens": read,
        "output_tokens": drawn,
        "total_tokens": read + drawn,
        "input_tokens_details": {"text_tokens": read, "image_tokens": 0},
        "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
    }


def image_tokens(pipeline: Pipeline) -> int:
    """Return how many codes a picture has."""
    prior = getattr(pipeline, "prior", None)
    if pipeline.codec is None or prior is None:
        return 0
    return int(prior.length * prior.config.groups)


def shown(ask: Ask) -> dict[str, Any]:
    """Return what an answer says of all its pictures."""
    width, height = ask.pixels
    said: dict[str, Any] = {
        "size": f"{width}x{height}",
        "quality": ask.quality,
        "background": "opaque",
        "output_format": ask.kind,
    }
    if ask.safety_identifier is not None:
        said["safety_identifier"] = ask.safety_identifier
    return said


def notes_of(ask: Ask, pictures: Sequence[Picture] = ()) -> list[Note]:
    """Return what the reader should know, each once."""
    drawn = [each for picture in pictures for each in picture.notes]
    return list(dict.fromkeys([*ask.notes, *drawn]))


def as_warnings(notes: Sequence[Note]) -> list[dict[str, Any]]:
    """Return notes for the body of an answer."""
    return [each.to_json() for each in notes]


def as_headers(notes: Sequence[Note], seed: int) -> dict[str, str]:
    """Return the headers that tell the first seed and, in ASCII, what is not as it was asked."""
    told = "; ".join(str(each) for each in notes)
    told = " ".join(told.encode("ascii", "backslashreplace").decode().split())
    found = {"x-limner-seed": str(seed)}
    return found | {"x-limner-notes": told[:HEADER_LIMIT]} if told else found


def now() -> int:
    """Return the time in seconds since 1970."""
    return int(time.time())
