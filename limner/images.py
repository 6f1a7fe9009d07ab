"""Pictures as tensors, PIL images, PNG files and terminal text; the only place that opens images.

Shapes: B pictures, H and W pixels; tensors are (B, 3, H, W) float in [-1, 1].
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from limner.decoding import PIXELS_LIMIT, decode, to_rgb
from limner.errors import ImageError, NonFiniteError, UsageError, quote

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

FORMATS = ("PNG", "JPEG", "WEBP")
# What ends so is meant as a picture's file, of a kind that is read or not.
PICTURE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".svg"),
)
BYTES_LIMIT = 25 * 2**20
SIDE_LIMIT = 8192
_XMP = "XML:com.adobe.xmp"  # the key of XMP among the text chunks of a PNG
_PNG = b"\x89PNG\r\n\x1a\n"
_BARS = 2  # pixels between the pictures of a grid
_SCANS = 100  # of a JPEG; programs write ten or so, and each costs as much as a whole picture
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # others stand among the data of a scan


@dataclass(frozen=True)
class Limits:
    """How large a picture may be: bytes of its file, pixels in all, and pixels a side."""

    bytes: int
    pixels: int
    side: int


UPLOAD = Limits(BYTES_LIMIT, PIXELS_LIMIT, SIDE_LIMIT)  # of a stranger
PHOTO = Limits(256 * 2**20, 100_000_000, 65_535)  # of a person's own: as cameras write them


def open_image(path: str | Path, limits: Limits = PHOTO) -> Image:
    """Return the picture in a PNG, JPEG or WebP file as upright 8-bit RGB, alpha over white.

    At most 256 MiB, 100,000,000 pixels and 65,535 a side, judged before any pixel is decoded; one
    of more than 16,777,216 comes at a half or a quarter of its size, so that it fits in memory. Of
    a file that holds several pictures behind one another, as phones write (MPO), it is the first.
    Raises ImageError. It applies no colour profile.
    """
    return decode_image(read_bytes(path, limits), str(path), limits)


def decode_image(data: bytes, name: str, limits: Limits = UPLOAD) -> Image:
    """Return the picture in the bytes of a file, as `open_image` does; errors say `name`.

    By default at most 25 MiB, 16,777,216 pixels and 8,192 a side, which suits what strangers send.
    """
    from PIL import Image, UnidentifiedImageError

    if not data or len(data) > limits.bytes:
        _refuse_length(len(data), name, limits)
    try:
        with warnings.catch_warnings():  # Pillow's own limit is below ours, which is judged next
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # Only three readers of Pillow: each more is code that strangers can reach.
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
        with opened:
            _check_size(name, *opened.size, limits)
            if opened.format in ("JPEG", "MPO") and _has_many_scans(data):
                raise ImageError(
                    f"{quote(name)} is a JPEG of more than {_SCANS} scans; save it anew in another "
                    "program"
                )
            if opened.format != "MPO" and getattr(opened, "n_frames", 1) > 1:
                raise ImageError(
                    f"{quote(name)} is animated; give a still picture",
                    code="animated_not_supported",
                )
            if opened.format == "PNG":
                _check_sums(data)
            return decode(opened)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{quote(name)} is not a picture that limner reads; give PNG, JPEG or WebP"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{quote(name)} has far more than the {limits.pixels} pixels that can be read; give a "
            "smaller picture",
            code="image_too_large",
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(
            f"cannot read the picture {quote(name)}: {error}; give another copy of it, or save it "
            "anew"
        ) from error


def as_image(given: object) -> Image:
    """Return what a person gives for a picture as upright 8-bit RGB, alpha over white.

    That is the path of a file, an image of PIL, or what holds one as `image`, as a limner.Picture.
    Raises ImageError for a bad file, UsageError for anything else.
    """
    from PIL import Image, ImageOps

    if isinstance(given, str | os.PathLike):
        return open_image(Path(given))
    # A Picture, or anything else that carries one, is taken for its picture.
    image = getattr(given, "image", given)
    if not isinstance(image, Image.Image):
        raise UsageError(
            f"a picture is {quote(given)}; expected the path of a file, an image of PIL, or a "
            "limner.Picture",
            param="image",
        )
    return to_rgb(ImageOps.exif_transpose(image))


def as_images(given: object) -> list[Image]:
    """Return the pictures of a list, each as `as_image`; one picture alone is a list of one."""
    return (
        [as_image(each) for each in given] if isinstance(given, list | tuple) else [as_image(given)]
    )


def to_tensor(images: Sequence[Image]) -> Tensor:
    """Return RGB pictures of one size as (B, 3, H, W) float32 in [-1, 1]."""
    import numpy
    import torch

    # The same arithmetic in both directions, so that a round trip changes no value.
    pixels = numpy.stack([numpy.asarray(image.convert("RGB")) for image in images])  # (B, H, W, 3)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_images(images: Tensor) -> list[Image]:
    """Return (B, 3, H, W) in [-1, 1] as RGB pictures; values outside are clipped.

    Raises NonFiniteError for NaN or infinity.
    """
    import torch
    from PIL import Image

    if not bool(torch.isfinite(images).all()):
        bad = int((~torch.isfinite(images)).sum())
        raise NonFiniteError(f"the drawing holds {bad} values that are not finite; check the model")
    pixels = images.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return [Image.fromarray(each) for each in pixels.permute(0, 2, 3, 1).cpu().numpy()]


def grid(images: Sequence[Image], columns: int | None = None) -> Image:
    """Return the pictures side by side on white, by default in a nearly square sheet."""
    from PIL import Image

    # Nearly square, and never higher than wide.
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width = max(image.width for image in images) + _BARS
    height = max(image.height for image in images) + _BARS
    sheet = Image.new("RGB", (columns * width - _BARS, rows * height - _BARS), "white")
    for index, image in enumerate(images):
        sheet.paste(to_rgb(image), (index % columns * width, index // columns * height))
    return sheet


def terminal_preview(image: Image, columns: int = 64) -> str:
    """Return the picture as lines of 24-bit coloured half blocks, at most `columns` wide.

    It does not know whether anything that shows colours is listening.
    """
    from PIL import Image

    width = max(1, min(columns, image.width))
    height = max(2, round(image.height * width / image.width))
    height += height % 2
    small = image.convert("RGB").resize((width, height), Image.Resampling.BOX)
    pixels = small.tobytes()
    lines = []
    for row in range(0, height, 2):
        top, bottom = (row * width * 3, (row + 1) * width * 3)
        cells = []
        for at in range(0, width * 3, 3):
            above = ";".join(map(str, pixels[top + at : top + at + 3]))
            below = ";".join(map(str, pixels[bottom + at : bottom + at + 3]))
            cells.append(f"\x1b[38;2;{above};48;2;{below}m▀")
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def png_texts(
    prompt: str,
    seed: int,
    model: str,
    settings: Mapping[str, Any],
    *,
    size: tuple[int, int],
    notes: Sequence[str] = (),
) -> dict[str, str]:
    """Return the PNG text chunks: the `parameters` line of other tools, and `limner` as JSON."""
    fields = {
        "Steps": settings.get("steps"),
        # Of models that draw from noise `sampler`, as in the JSON beside it; others have none.
        "Sampler": settings.get("sampler") or settings.get("family"),
        "CFG scale": settings.get("guidance"),
        "Seed": seed,
        "Size": f"{size[0]}x{size[1]}",
        "Model hash": (settings.get("model_hash") or "")[:10] or None,
        "Model": model,
        "Version": "limner",
    }
    known = [f"{key}: {_parameter(value)}" for key, value in fields.items() if value is not None]
    # Two chunks: the line that other tools read, and JSON that limner reads strictly.
    own = {"prompt": prompt, "seed": seed, "model": model, **settings}
    own |= {"notes": list(notes)} if notes else {}
    return {
        "parameters": f"{prompt}\n{', '.join(known)}",
        "limner": json.dumps(own, ensure_ascii=False, sort_keys=True),
    }


def encode_png(image: Image, texts: Mapping[str, str] | None = None, xmp: str = "") -> bytes:
    """Return PNG bytes with `texts` as text chunks and a packet of XMP; any language is kept."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for key, value in (texts or {}).items():
        chunks.add_text(key, value)
    if xmp:
        chunks.add_itxt(_XMP, xmp)
    buffer = io.BytesIO()
    # After the filters of PNG runs are most of what deflate finds: looking for no more takes half
    # the time, and the files are a little smaller.
    image.save(buffer, format="PNG", pnginfo=chunks, compress_level=4, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def open_with_alpha(path: Path, limits: Limits = UPLOAD) -> Image:
    """Return the picture in a file as upright RGB, or as RGBA where it can be transparent.

    Limits and errors are those of `open_image`.
    """
    return _decode_with_alpha(read_bytes(path, limits), str(path), limits)


def encode_lossy(image: Image, kind: str, quality: int, xmp: str = "") -> bytes:
    """Return JPEG or WebP bytes of a `quality` of 1 to 100, with a packet of XMP."""
    # Colours in full resolution: small pictures of flat colours show the loss at once.
    settings: dict[str, Any] = {"subsampling": 0} if kind == "JPEG" else {"method": 4}
    if xmp:
        settings["xmp"] = xmp.encode()
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=quality, **settings)
    return buffer.getvalue()


def read_xmp(data: bytes, name: str) -> str:
    """Return the XMP packet in the bytes of a PNG, JPEG or WebP file, "" where there is none.

    Raises ImageError where the file is no such picture; errors say `name`.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            found = opened.info.get("xmp") or opened.info.get(_XMP) or b""
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"cannot read text from {quote(name)}: {error}") from error
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)


def decode_cut_out(data: bytes, name: str, limits: Limits = UPLOAD) -> Image:
    """Return the picture in the bytes of a file as RGBA; limits and errors are `decode_image`'s."""
    return _decode_with_alpha(data, name, limits).convert("RGBA")


def _decode_with_alpha(data: bytes, name: str, limits: Limits) -> Image:
    from PIL import Image, ImageOps

    plain = decode_image(data, name, limits)
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        clear = opened.mode in ("LA", "PA", "RGBA") or "transparency" in opened.info
        if not clear or opened.mode.startswith("I"):
            return plain
        return ImageOps.exif_transpose(opened).convert("RGBA")


def read_png_texts(path: str | Path) -> dict[str, str]:
    """Return the text chunks of a PNG file but XMP; raises ImageError when it is no PNG."""
    try:
        return texts_in(_read_file(Path(path)), str(path))
    except OSError as error:
        raise ImageError(f"cannot read text from {quote(str(path))}: {error}") from error


def texts_in(data: bytes, name: str) -> dict[str, str]:
    """Return the text chunks in the bytes of a PNG but XMP; ImageError when it is no PNG."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            found = getattr(opened, "text", {})
            return {key: str(value) for key, value in found.items() if key != _XMP}
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"cannot read text from {quote(name)}: {error}") from error


def read_bytes(path: str | Path, limits: Limits = PHOTO) -> bytes:
    """Return the bytes of a picture's file, as `decode_image` takes them; raises ImageError."""
    try:
        return _read_file(Path(path), limits)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read the picture {quote(str(path))}: {error}") from error


def _read_file(path: Path, limits: Limits = UPLOAD) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:
        data = file.read(limits.bytes + 1)
    if not data or len(data) > limits.bytes:
        _refuse_length(len(data), str(path), limits)
    return data


def _refuse_length(length: int, name: str, limits: Limits) -> NoReturn:
    if length == 0:
        raise ImageError(f"{quote(name)} is empty; give a picture")
    raise ImageError(
        f"{quote(name)} is larger than {limits.bytes // 2**20} MiB; give a smaller picture"
    )


def _check_size(name: str, width: int, height: int, limits: Limits) -> None:
    if max(width, height) > limits.side or width * height > limits.pixels:
        raise ImageError(
            f"{quote(name)} is {width} x {height} pixels; at most {limits.pixels} pixels and "
            f"{limits.side} a side can be read",
            code="image_too_large",
        )


def _check_sums(data: bytes) -> None:
    """Raise OSError for a PNG whose pixels have a wrong checksum, which Pillow does not look at."""
    at, view = len(_PNG), memoryview(data)
    while at + 12 <= len(data):  # a length, a name and a checksum of four bytes each
        end = at + 8 + int.from_bytes(view[at : at + 4])
        kept, told = view[at + 4 : end], view[end : end + 4]
        # What is cut off is told by Pillow.
        whole = bytes(kept[:4]) == b"IDAT" and len(told) == 4
        if whole and zlib.crc32(kept) != int.from_bytes(told):
            raise OSError("its checksum is wrong")
        at = end + 4


def _has_many_scans(data: bytes) -> bool:
    """Say whether a JPEG, up to its end, has more scans than any program writes."""
    at = scans = 0
    while scans <= _SCANS and (found := _MARKER.search(data, at)) is not None:
        kind, at = found[0][1], found.end()
        if kind == 0xD9:  # the end; what follows may be a film of the same moment
            break
        if kind not in (0x01, 0xD8):  # that have no length
            at += int.from_bytes(data[at : at + 2])
        scans += kind == 0xDA
    return scans > _SCANS


def _parameter(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:\n"') else text
