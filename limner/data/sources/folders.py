"""Folders of pictures, each with a .txt or in a folder of its class, and safe ways to read them.

Nothing outside the folder is ever opened: links that leave it, devices and pipes are noted as
`unsafe`. Names that begin with a dot, and __MACOSX, are not looked at.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

from limner.data.sources.base import IndexedSource, Losses, Sample
from limner.data.sources.caption_text import FILE_LIMIT, TEXTS, decode_caption_file, first_text
from limner.errors import DataError, ImageError, quote
from limner.images import PHOTO

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp"})
OTHER_PICTURES = frozenset(
    {".avif", ".bmp", ".eps", ".gif", ".heic", ".heif", ".ico", ".jp2", ".jxl", ".psd", ".svg"}
    | {".tga", ".tif", ".tiff", ".apng", ".hif", ".ppm", ".pgm", ".dng", ".cr2", ".cr3", ".nef"}
    | {".arw", ".orf", ".raf", ".rw2"}
)
TABLES = frozenset({".jsonl", ".ndjson", ".csv", ".tsv", ".json", ".parquet", ".xlsx"})
ARCHIVES = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".zip"),
    *(".7z", ".rar"),
)
PICTURE_FOLDERS = frozenset(
    [
        *("images", "image", "imgs", "img", "pictures", "picture", "pics", "photos", "photo"),
        *("jpg", "jpgs", "jpeg", "png", "pngs"),
    ]
)
TEXT_FOLDERS = frozenset(
    [
        *("captions", "caption", "texts", "text", "txt", "txts", "labels", "label", "prompts"),
        *("descriptions", "annotations"),
    ]
)
NOTICES = frozenset(
    [
        *("readme", "license", "licence", "copying", "notice", "notices", "attribution"),
        *("credits", "authors", "changelog"),
    ]
)
UNREAD_TABLE = "tables and JSON files beside pictures whose captions are taken from elsewhere"
UNREAD_TEXT = "caption files beside pictures whose captions are taken from elsewhere"
UNREAD_ARCHIVE = "archives beside pictures, which are not opened"
HIDDEN_PICTURE = "pictures whose names begin with a dot"
_LITTER = "__MACOSX"  # what macOS puts into archives


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
    for entry in entries_of(folder):
        name = prefix + entry.name
        if is_hidden(entry.name):
            if entry.name[:2] != "._" and PurePosixPath(entry.name).suffix.lower() in PICTURES:
                losses.pass_over(HIDDEN_PICTURE, name)
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{name}/", real, losses)
            continue
        # Links are followed by their names only, never opened before it is known where they lead.
        size, reason = _inspect(folder / entry.name, real)
        if reason:
            losses.add(name, str(folder / entry.name), "unsafe", f"{quote(name, 120)} {reason}")
        else:
            yield Found(name, size)


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """Return what lies in a folder by its names; raises DataError when it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot read {quote(str(folder), 200)}: {error.strerror}") from error


def is_hidden(name: str) -> bool:
    """Say whether a file or folder of this name is not looked at."""
    return name.startswith(".") or name == _LITTER


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


def read_bytes(path: Path, limit: int = PHOTO.bytes) -> bytes:
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
    """Pictures with a .txt of the same stem, beside each or in a folder beside theirs.

    Every line of it is a caption. See `pair_captions` for folders such as images/ and captions/.
    """

    kind = "pairs"

    def __init__(self, root: Path, place: str) -> None:
        losses = Losses()
        # 1. All files, the captions among them by the stem of their names.
        files = list(walk(root, losses))
        texts: dict[str, list[str]] = {}
        for each in files:
            if each.suffix.lower() in TEXTS:
                texts.setdefault(each.stem, []).append(each.name)
        pictures = list(pictures_of(root, files, losses))
        refuse_same_stems(pictures, place)
        pairs = pair_captions([each.name for each in pictures], texts)
        # 2. Each picture with its captions; what has none, or bad ones, is noted.
        samples = []
        for each in pictures:
            if each.name not in pairs:
                note(losses, root, each.name, "no_caption", f"has no {each.stem}.txt beside it")
                continue
            names = texts.pop(pairs[each.name])
            try:
                name = first_text(names, losses.pass_over)
                captions = decode_caption_file(read_bytes(root / name, FILE_LIMIT))
            except DataError as error:
                note(losses, root, names[0], error.code or "bad_caption", f": {error}")
                continue
            samples.append(picture_sample(root, each, captions))
        # 3. Captions that no picture took.
        for name in (name for names in texts.values() for name in names):
            if not is_notice(name):
                note(losses, root, name, "no_picture", "has no picture beside it")
        pass_over_rest(files, losses, texts=False)
        super().__init__(place, losses, samples)


def pair_captions(pictures: Iterable[str], texts: Collection[str]) -> dict[str, str]:
    """Return for each picture that has one the stem of its caption file."""
    found: dict[str, str] = {}
    others: list[str] = []
    for picture in pictures:
        stem = str(PurePosixPath(picture).with_suffix(""))
        # 1. The one beside it: a.txt, or a.png.txt, for a.png.
        beside = [each for each in (stem, picture) if each in texts]
        if beside:
            found[picture] = beside[0]
        else:
            others.append(picture)
    # 2. The others by what their paths have in common once a folder such as images/ is taken out of
    # the one or captions/ out of the other: data/captions/cat/1.txt for data/images/cat/1.png.
    loose: dict[str, list[str]] = {}
    for text in set(texts).difference(found.values()):
        for short in _without(text, TEXT_FOLDERS):
            loose.setdefault(short, []).append(text)
    claims: dict[str, list[str]] = {}
    for picture in others:
        stem = str(PurePosixPath(picture).with_suffix(""))
        near = {text for short in _without(stem, PICTURE_FOLDERS) for text in loose.get(short, ())}
        if len(near) == 1:
            claims.setdefault(near.pop(), []).append(picture)
    # 3. Only where both choose each other: a caption under the wrong picture is worse than none.
    found |= {owners[0]: text for text, owners in claims.items() if len(owners) == 1}
    return found


def _without(stem: str, folders: frozenset[str]) -> Iterator[str]:
    """Yield a stem as it is, and without each of its folders that is one of these."""
    yield stem
    *parts, last = stem.split("/")
    for place, part in enumerate(parts):
        if part.casefold() in folders:
            yield "/".join([*parts[:place], *parts[place + 1 :], last])


def is_notice(name: str) -> bool:
    """Say whether a text file tells of a collection, as README.txt does, and is no caption."""
    return PurePosixPath(name).stem.casefold() in NOTICES


def pass_over_rest(
    files: Iterable[Found], losses: Losses, *, table: str = "", texts: bool = True
) -> None:
    """Tell the tables, archives and caption files of a folder that its source does not read.

    `table` is the one that it does; without `texts` the source tells of caption files itself.
    """
    for each in files:
        suffix = each.suffix.lower()
        if each.name == table or is_notice(each.name):
            continue
        if suffix in TABLES:
            losses.pass_over(UNREAD_TABLE, each.name)
        elif suffix in TEXTS and texts:
            losses.pass_over(UNREAD_TEXT, each.name)
        elif each.name.lower().endswith(ARCHIVES):
            losses.pass_over(UNREAD_ARCHIVE, each.name)


def pictures_of(root: Path, files: Iterable[Found], losses: Losses) -> Iterator[Found]:
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


_SPLIT = re.compile(
    r"(train|training|trn|val|valid|validation|dev|test|testing|eval|evaluation|held[-_ ]?out)"
    r"([-_ ]?(set|split|data|images?|\d+))*",
    re.IGNORECASE,
)


class ClassesSource(IndexedSource):
    """One folder for each class; its name, `_` read as a space, is the caption of its pictures."""

    kind = "classes"

    def __init__(self, root: Path, place: str) -> None:
        losses = Losses()
        samples = []
        files = list(walk(root, losses))
        splits: dict[str, None] = {}
        for each in pictures_of(root, files, losses):
            folders = each.name.split("/")[:-1]
            splits |= dict.fromkeys(filter(is_split, folders))
            caption = class_of(folders)
            if caption:
                samples.append(picture_sample(root, each, (caption,)))
            elif not folders:
                note(losses, root, each.name, "no_caption", "is in no folder of a class")
            else:
                reason = f"is in {quote(folders[-1])}, which names no class; rename the folder"
                note(losses, root, each.name, "no_caption", reason)
        pass_over_rest(files, losses)
        if len(splits) > 1:
            losses.remarks.append(
                f"The pictures of {', '.join(map(quote, splits))} are all read; give one of these "
                "folders as the source to leave the others out."
            )
        super().__init__(place, losses, samples)


def class_of(folders: list[str]) -> str:
    """Return the caption that the folders of a picture give, the nearest first; empty for none."""
    # The folder that the picture lies in, or the nearest above whose name says something: `train`
    # and its like name a part of the data, `images` and its like nothing.
    for folder in reversed(folders):
        caption = " ".join(folder.replace("_", " ").split())
        if caption and not is_split(folder) and folder.casefold() not in PICTURE_FOLDERS:
            return caption
    return ""


def is_split(folder: str) -> bool:
    """Say whether a folder is named as a part of the data is, such as train or val2017."""
    return bool(_SPLIT.fullmatch(folder))
