"""Folders of pictures: pairs of picture and .txt, one folder a class, and safe ways to read files.

Nothing outside the folder is ever opened: links that leave it, devices and pipes are noted as
`unsafe`. Names that begin with a dot are not looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

from limner.data.caption_text import FILE_LIMIT, decode_caption_file
from limner.data.samples import IndexedSource, Losses, Sample
from limner.errors import DataError, ImageError, quote
from limner.images import BYTES_LIMIT

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
OTHER_PICTURES = frozenset(
    {".avif", ".bmp", ".eps", ".gif", ".heic", ".heif", ".ico", ".jp2", ".psd", ".svg", ".tga"}
    | {".tif", ".tiff"}
)


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file below a root: its name from there with slashes, and its size in bytes."""

    name: str
    size: int

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return self.name[: -len(self.suffix)] if self.suffix else self.name

    @property
    def suffix(self) -> str:
        """The last suffix as it is written, with its dot."""
        return PurePosixPath(self.name).suffix


def walk(root: Path, losses: Losses) -> Iterator[Found]:
    """Yield the regular files below `root` by name; what is no file of it goes to the losses.

    Raises DataError when a folder cannot be read.
    """
    real = Path(os.path.realpath(root))
    yield from _walk(root, "", real, losses)


def _walk(folder: Path, prefix: str, real: Path, losses: Losses) -> Iterator[Found]:
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot read {quote(str(folder), 200)}: {error.strerror}") from error
    for entry in entries:
        name = prefix + entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{name}/", real, losses)
            continue
        size, reason = _inspect(folder / entry.name, real)
        if reason:
            losses.add(name, str(folder / entry.name), "unsafe", f"{quote(name, 120)} {reason}")
        else:
            yield Found(name, size)


def _inspect(path: Path, real: Path) -> tuple[int, str | None]:
    """Return a file's size and None, or -1 and why it is not to be opened."""
    if not Path(os.path.realpath(path)).is_relative_to(real):
        return -1, "is reached by a link that leads out of the folder; limner follows none"
    try:
        found = os.stat(path)
    except OSError as error:
        return -1, f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return -1, "is a device, a pipe or a linked folder; give regular files"
    return found.st_size, None


def is_inside(name: str) -> bool:
    """Say whether a name from a table or an archive stays inside, on every system."""
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or PurePosixPath(name).is_absolute() or "\0" in name:
        return False
    return ".." not in windows.parts and name.strip() not in ("", ".")


def inspect_file(root: Path, name: str) -> tuple[int, str | None]:
    """Return a named file's size and None, or -1 and why it is not to be opened."""
    if not is_inside(name):
        return -1, "leads out of the folder; put the pictures beside the table"
    return _inspect(root / name, Path(os.path.realpath(root)))


def read_bytes(path: Path, limit: int = BYTES_LIMIT) -> bytes:
    """Return at most `limit` + 1 bytes of a file; raises ImageError when it cannot be read."""
    try:
        # O_NONBLOCK: a pipe put in the file's place meanwhile would be waited on for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise ImageError(f"cannot read {quote(str(path), 200)}: {error.strerror}") from error


def picture_sample(root: Path, found: Found, captions: tuple[str, ...]) -> Sample:
    """Return the sample of a picture file below `root`; it is read when its image is asked for."""
    path = root / found.name
    return Sample(found.name, captions, str(path), partial(read_bytes, path), found.size)


class PairsSource(IndexedSource):
    """Pictures with a .txt of the same stem beside each; every line of it is a caption."""

    kind = "pairs"

    def __init__(self, root: Path, place: str) -> None:
        losses = Losses()
        files = list(walk(root, losses))
        texts = {each.stem: each for each in files if each.suffix.lower() == ".txt"}
        pictures = list(pictures_of(root, files, losses))
        refuse_same_stems(pictures, place)
        samples = []
        for each in pictures:
            text = texts.pop(each.stem, None)
            if text is None:
                note(losses, root, each.name, "no_caption", f"has no {each.stem}.txt beside it")
                continue
            try:
                captions = decode_caption_file(read_bytes(root / text.name, FILE_LIMIT))
            except DataError as error:
                note(losses, root, text.name, error.code or "bad_caption", f": {error}")
                continue
            samples.append(picture_sample(root, each, captions))
        for text in texts.values():
            if text.name.lower() not in ("readme.txt", "license.txt", "licence.txt"):
                note(losses, root, text.name, "no_picture", "has no picture beside it")
        super().__init__(place, losses, samples)


class ClassesSource(IndexedSource):
    """One folder for each class; the folder's name, `_` read as a space, is the caption."""

    kind = "classes"

    def __init__(self, root: Path, place: str) -> None:
        losses = Losses()
        samples = []
        for each in pictures_of(root, walk(root, losses), losses):
            name, slash, _ = each.name.partition("/")
            caption = " ".join(name.replace("_", " ").split())
            if slash and caption:
                samples.append(picture_sample(root, each, (caption,)))
            else:
                note(losses, root, each.name, "no_caption", "is in no folder of a class")
        super().__init__(place, losses, samples)


def pictures_of(
    root: Path, files: Iterator[Found] | list[Found], losses: Losses
) -> Iterator[Found]:
    """Yield the files that are pictures by name; formats that limner does not read are noted."""
    for each in files:
        suffix = each.suffix.lower()
        if suffix in PICTURES:
            yield each
        elif suffix in OTHER_PICTURES:
            reason = "is not a picture that limner reads; give PNG, JPEG or WebP"
            note(losses, root, each.name, "bad_picture", reason)


def refuse_same_stems(pictures: list[Found], place: str) -> None:
    """Raise DataError when two pictures, such as a.jpg and a.png, would share one caption."""
    names: dict[str, list[str]] = {}
    for each in pictures:
        names.setdefault(each.stem, []).append(each.name)
    twice = [name for group in names.values() if len(group) > 1 for name in group]
    if twice:
        raise DataError(
            f"{quote(place, 80)} has {len(twice)} pictures that share a stem, and one caption "
            f"cannot be for both; keep one of each: {', '.join(quote(name) for name in twice[:4])}"
            f"{' ...' if len(twice) > 4 else ''}"
        )


def note(losses: Losses, root: Path, name: str, code: str, reason: str) -> None:
    """Add a file to the losses, its name before the reason."""
    between = "" if reason.startswith(":") else " "
    losses.add(name, str(root / name), code, f"{quote(name, 120)}{between}{reason}")
