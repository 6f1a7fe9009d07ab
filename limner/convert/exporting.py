"""A model folder of limner out, in the layout of another library: the tables, read the other way.

What was imported comes out under its old names with the same numbers. A tensor is read, turned and
written at a time, but for layouts whose own code reads nothing but torch.save's files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.checkpoint.model import TOKENIZER, WEIGHTS, inspect_checkpoint
from limner.convert.importing import CODEC_FILE, check_out
from limner.convert.keys import SAME, Weight
from limner.convert.layout import Layout, Model, NoPlace, Part, Shape
from limner.convert.layouts import LAYOUTS
from limner.errors import CheckpointError, UnknownModelError, UsageError, did_you_mean, quote
from limner.files.atomic import new_folder
from limner.files.folder import MANIFEST, shown_path
from limner.files.safetensors import read_header, strict_json
from limner.files.writing import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exported:
    """What was exported: the format, the folder, and the names of its files."""

    format: str
    folder: str
    files: tuple[str, ...]
    bytes: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self) | {"files": list(self.files), "notes": list(self.notes)}


def export_checkpoint(
    folder: str | Path,
    out: str | Path,
    *,
    format: str,
    root: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Write the model, or the codec, of a folder in another library's layout into a new folder.

    `format` is one of `limner.convert.layouts.LAYOUTS`; links of the folder may lead only into
    `root`, by default itself. `progress` is told the bytes that are written of a file, and all.
    Raises UnknownModelError where there is no folder, UsageError for an unknown format, one that
    cannot hold this model, and an `out` that is in use; CheckpointError as loading; ResourceError
    where the disk refuses. Nothing is written then.
    """
    make, source, target = find_layout(format), Path(folder), Path(out)
    check_out(target)
    if not source.is_dir():
        raise UnknownModelError(
            f"there is no model folder at {quote(str(folder), 200)}; give a folder that holds "
            "config.json, or a codec's",
            param="model",
        )
    held, weights = _read(source, root)
    try:
        layout = make(held)
    except (NoPlace, KeyError, TypeError) as error:
        raise UsageError(
            f"{quote(str(folder), 120)} is no model that the layout {quote(format)} can hold",
            param="format",
        ) from error
    with ExitStack() as stack:
        named = _tensors(weights, stack)
        found = [(part, dict(_theirs(part, named, format))) for part in layout.parts]
        with new_folder(target) as partial:
            for name in (*(part.file for part in layout.parts), *layout.texts):
                (partial / name).parent.mkdir(exist_ok=True)
            for part, tensors in found:
                _write(partial / part.file, part, tensors, progress)
            for name, text in layout.texts.items():
                (partial / name).parent.mkdir(exist_ok=True)
                (partial / name).write_text(text, encoding="utf-8")
    written = sorted(each for each in target.rglob("*") if each.is_file())
    files = tuple(each.relative_to(target).as_posix() for each in written)
    size = sum(each.stat().st_size for each in written)
    return Exported(format, str(target), files, size, layout.notes)


def find_layout(name: str) -> Callable[[Model], Layout]:
    """Return what makes the layout of a format; UsageError for a format that is not written."""
    if name not in LAYOUTS:
        raise UsageError(
            f"limner does not write the format {quote(name)}{did_you_mean(name, LAYOUTS)}; it "
            f"writes {', '.join(LAYOUTS)}",
            param="format",
        )
    return LAYOUTS[name]


def is_codec(folder: Path) -> bool:
    """Say whether a folder holds a codec alone."""
    return (folder / CODEC_FILE).is_file() and not (folder / MANIFEST).exists()


def _read(folder: Path, root: Path | None) -> tuple[Model, Path]:
    """Return what a model's folder, or a codec's, says, and its file of weights."""
    if not is_codec(folder):
        found = inspect_checkpoint(folder, root=root)
        text = (folder / TOKENIZER).read_text(encoding="utf-8")
        return Model(found.config.tables, json.loads(text)), folder / WEIGHTS
    path = folder / CODEC_FILE
    shown = shown_path(path)
    with path.open("rb") as file:
        read_header(file, shown)
        file.seek(0)
        header = strict_json(file.read(int.from_bytes(file.read(8), "little")), shown)
    told = header.get("__metadata__", {}).get("codec", "{}")
    return Model({"codec": strict_json(str(told).encode(), shown)}, {}), path


def _tensors(path: Path, stack: ExitStack) -> dict[str, Weight]:
    """Return the tensors of a file of ours; a codec's own file has the names of a model's."""
    from safetensors import safe_open

    file = stack.enter_context(path.open("rb"))
    entries = read_header(file, shown_path(path))

    def reader(name: str) -> Callable[[], Tensor]:
        """Return what reads one tensor, when it is wanted."""

        def read() -> Tensor:
            with safe_open(path, "pt") as opened:
                tensor: Tensor = opened.get_tensor(name)
            return tensor

        return read

    prefix = "codec." if path.name == CODEC_FILE else ""
    return {
        f"{prefix}{name}": Weight(entry.dtype, entry.shape, reader(name))
        for name, entry in entries.items()
    }


def _theirs(part: Part, named: Mapping[str, Weight], format: str) -> Iterator[tuple[str, Weight]]:
    """Yield the tensors of a file under their names, in their shapes."""
    missing = []
    for name, weight in named.items():
        ours = name.removeprefix(part.prefix)
        if ours == name or not ours.startswith(part.only) or ours.startswith(part.others):
            continue
        found = part.keys.theirs(ours)
        if found is None:
            missing.append(name)
            continue
        theirs, turn = found
        read, shape = weight.read, weight.shape
        if turn is not SAME and turn.order:
            back = tuple(turn.order.index(axis) for axis in range(len(turn.order)))
            shape = tuple(shape[axis] for axis in back)
            read = _after(read, turn.theirs)
        if part.matrices and re.fullmatch(part.matrices, theirs):
            shape = shape[:2]
            read = _after(read, _as(shape))
        end = theirs.rpartition(".")[0].rpartition(".")[2]
        if end in part.split:
            yield from _pieces(Weight(weight.dtype, shape, read), theirs, end, part.split[end])
        else:
            shape = part.shapes.get(theirs, shape)
            yield theirs, Weight(weight.dtype, shape, _after(read, _as(shape)))
    if missing:
        raise CheckpointError(
            f"the layout {format} has no place for {len(missing)} tensors of this model, "
            f"{missing[0]} among them; it was not imported from there"
        )


def _after(read: Callable[[], Tensor], change: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
    return lambda: change(read())


def _as(shape: Shape) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.reshape(shape)


def _pieces(
    weight: Weight, name: str, end: str, names: tuple[str, ...]
) -> Iterator[tuple[str, Weight]]:
    """Yield the parts of a tensor along its first axis, under names of their own."""
    shape = (weight.shape[0] // len(names), *weight.shape[1:])

    def piece(at: int) -> Callable[[Tensor], Tensor]:
        """Return what cuts out a part."""
        return lambda tensor: tensor.chunk(len(names))[at]

    for at, each in enumerate(names):
        own = f".{each}.".join(name.rsplit(f".{end}.", 1))
        yield own, Weight(weight.dtype, shape, _after(weight.read, piece(at)))


def _write(path: Path, part: Part, tensors: Mapping[str, Weight], progress: Progress) -> None:
    if path.suffix == ".safetensors":
        write_tensors(path, tensors, {"format": "pt"}, progress)
        return
    import torch

    state = {name: each.read().contiguous().clone() for name, each in tensors.items()}
    buffer = BytesIO()  # torch tells of a full disk in words of its own
    torch.save({part.inside: state} if part.inside else state, buffer)
    path.write_bytes(buffer.getbuffer())
