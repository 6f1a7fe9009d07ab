"""A sheet of many pictures in one file, with an atlas beside it that says where each one is.

Games load such a sheet at once and cut pictures out by the atlas. The atlas also says how each was
drawn, so that a list which was stopped goes on with what is missing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.decoding import PIXELS_LIMIT
from limner.errors import DataError, ResourceError, UsageError, quote
from limner.files.atomic import replace_files
from limner.finish.finishing import told
from limner.finish.provenance.saving import Saving, encode
from limner.images import PHOTO, SIDE_LIMIT, decode_cut_out
from limner.types import Request

if TYPE_CHECKING:
    from PIL.Image import Image

FORMAT = 1
ATLAS_LIMIT = 16 * 2**20  # bytes


@dataclass(frozen=True)
class Cell:
    """A picture of a sheet; `key` stands for all that it hangs on."""

    key: str
    prompt: str
    seed: int
    image: Image


def key_of(request: Request, seed: int, **more: Any) -> str:
    """Return a hash of all that a picture of a request hangs on: words, seed, settings and `more`.

    A picture that is varied, and functions of logits, are not in it.
    """
    asked = {
        "prompt": request.prompt,
        "seed": seed,
        "guidance": request.guidance,
        "sampling": asdict(request.sampling),
        "verbatim": request.verbatim,
        "tile": request.tile,
        "finish": told(request.finish),
        **more,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def atlas_path(sheet: Path) -> Path:
    """Return the file of a sheet's atlas: x.json of x.png."""
    return sheet.with_suffix(".json")


def write_sheet(path: Path, cells: Sequence[Cell]) -> None:
    """Write a sheet and its atlas, both whole or neither; ResourceError where the disk refuses.

    Raises UsageError where the sheet would have more than 16,777,216 pixels, or 8,192 a side.
    """
    sheet, atlas = compose(cells, path.name)
    text = json.dumps(atlas, ensure_ascii=False, indent=1).encode() + b"\n"
    files = {
        path.name: encode(sheet, saving=Saving(metadata=False, mark=False)),
        atlas_path(path).name: text,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot write in {quote(str(path.parent), 200)}: {error.strerror}; give the sheet "
            "another place"
        ) from error
    replace_files(path.parent, files, path)


def compose(cells: Sequence[Cell], name: str) -> tuple[Image, dict[str, Any]]:
    """Return the sheet of at least one cell, nearly square, and its atlas as plain JSON values."""
    from PIL import Image as images

    columns = math.ceil(math.sqrt(len(cells)))
    rows = math.ceil(len(cells) / columns)
    width = max(cell.image.width for cell in cells)
    height = max(cell.image.height for cell in cells)
    across, down = columns * width, rows * height
    if max(across, down) > SIDE_LIMIT or across * down > PIXELS_LIMIT:
        raise UsageError(
            f"{len(cells)} pictures of {width} x {height} pixels make a sheet of more than "
            f"{PIXELS_LIMIT} pixels; give fewer prompts, or smaller pictures",
            param="sheet",
        )
    mode = "RGBA" if any(cell.image.mode == "RGBA" for cell in cells) else "RGB"
    sheet, frames = images.new(mode, (columns * width, rows * height)), []
    for number, cell in enumerate(cells):
        left, top = number % columns * width, number // columns * height
        sheet.paste(cell.image.convert(mode), (left, top))
        frames.append(
            {
                "prompt": cell.prompt,
                "seed": cell.seed,
                "x": left,
                "y": top,
                "width": cell.image.width,
                "height": cell.image.height,
                "alpha": cell.image.mode == "RGBA",
                "key": cell.key,
            }
        )
    size = {"width": sheet.width, "height": sheet.height}
    return sheet, {"limner_atlas": FORMAT, "image": name, **size, "frames": frames}


def read_sheet(path: Path) -> dict[str, Cell]:
    """Return the cells of a sheet by their keys, {} where neither it nor an atlas is there.

    Raises UsageError where one of both is missing, DataError for an atlas that makes no sense.
    """
    atlas = atlas_path(path)
    there = [each for each in (path, atlas) if each.exists()]
    if not there:
        return {}
    if len(there) == 1:
        raise UsageError(
            f"{quote(str(there[0]), 200)} is there without its other half, sheet or atlas; give "
            "another name, or remove it",
            param="sheet",
        )
    shown = quote(str(atlas), 200)
    try:
        with path.open("rb") as file:
            sheet = decode_cut_out(file.read(PHOTO.bytes + 1), str(path), PHOTO)
        with atlas.open("rb") as file:
            stated = json.loads(file.read(ATLAS_LIMIT))
    except OSError as error:
        raise DataError(f"cannot read {quote(str(path), 200)}: {error.strerror}") from error
    except (ValueError, RecursionError):
        stated = None
    cells = _cells(stated, sheet) if isinstance(stated, Mapping) else None
    if cells is None:
        raise DataError(f"{shown} is no atlas of limner's; give another name for the sheet")
    return {cell.key: cell for cell in cells}


def _cells(stated: Mapping[str, Any], sheet: Image) -> list[Cell] | None:
    """Return the cells that an atlas states, None where it makes no sense."""
    frames, found = stated.get("frames"), list[Cell]()
    if stated.get("limner_atlas") != FORMAT or not isinstance(frames, list):
        return None
    for frame in frames:
        if not isinstance(frame, Mapping):
            return None
        numbers: list[Any] = [frame.get(name) for name in ("x", "y", "width", "height")]
        x, y, width, height = numbers
        whole = all(type(each) is int and each >= 0 for each in (*numbers, frame.get("seed")))
        texts = all(isinstance(frame.get(name), str) for name in ("key", "prompt"))
        if not (whole and texts and width and height):
            return None
        if x + width > sheet.width or y + height > sheet.height:
            return None
        image = sheet.crop((x, y, x + width, y + height))
        if frame.get("alpha") is not True:
            image = image.convert("RGB")
        found.append(Cell(frame["key"], frame["prompt"], frame["seed"], image))
    return found
