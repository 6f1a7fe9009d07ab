"""Captioned pictures from wherever they are: one function that opens every kind of source.

`open_source(place)` looks at what is there and chooses; `kind:place` forces a kind. See KINDS.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from limner.data.folders import PICTURES, ClassesSource, PairsSource
from limner.data.hub import open_hub, open_saved
from limner.data.samples import (
    BAD_SAMPLES,
    CODES,
    BadSample,
    IndexedSource,
    Losses,
    Sample,
    Source,
    read_pictures,
)
from limner.data.shards import RemoteSource, WebDatasetSource, expand
from limner.data.tables import METADATA, TABLES, ImageFolderSource, TableSource
from limner.errors import DataError, UsageError, did_you_mean, quote

__all__ = [
    "BAD_SAMPLES",
    "CODES",
    "KINDS",
    "BadSample",
    "IndexedSource",
    "Losses",
    "Sample",
    "Source",
    "open_source",
    "read_pictures",
]

KINDS = {
    "imagefolder": "a folder of pictures with metadata.jsonl or metadata.csv",
    "pairs": "a folder of pictures, each with a .txt of the same stem",
    "classes": "a folder with a folder of pictures for each class",
    "table": "a .jsonl or .csv file that names pictures beside or below it",
    "webdataset": "tar files: one, a folder of them, a pattern {0000..0099}.tar, or http addresses",
    "datasets": "a folder that Hugging Face datasets saved; #NAME chooses a split",
    "hub": "owner/name of a dataset on the hub; #NAME chooses a split",
}
_SAVED = ("dataset_info.json", "dataset_dict.json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def open_source(place: str | os.PathLike[str], *, least: int = 1, strict: bool = True) -> Source:
    """Open the captioned pictures at a place; the order of its samples is always the same.

    Raises UsageError for an unknown kind, DataError when there is nothing of the kind and, with
    `strict`, when there are fewer than `least` samples or more than 1 % of them are bad.
    """
    text = os.fspath(place)
    prefix, colon, rest = text.partition(":")
    forced = prefix if colon and prefix in KINDS else None
    if colon and not forced and re.fullmatch(r"[a-z]{2,}", prefix) and not rest.startswith("//"):
        hint = did_you_mean(prefix, KINDS) or f"; choose one of {', '.join(KINDS)}"
        raise UsageError(f"{quote(prefix)} is no kind of source{hint}")
    source = _open(forced or look(text), rest if forced else text, text)
    if not strict or source.total is None:
        return source
    source.losses.check(source.total, text)
    if source.total < least:
        raise DataError(
            f"{quote(text, 120)} has {source.total} samples and {least} are needed; "
            "give more pictures, or make smaller batches"
        )
    return source


def look(place: str) -> str:
    """Return the kind of what is at a place; raises DataError when nothing known is there."""
    path = Path(place)
    if "://" in place:
        return "webdataset"
    if path.is_dir():
        return _look_into(path, place)
    if path.suffix.lower() in TABLES:
        return "table"
    if path.suffix.lower() == ".tar" or "{" in place:
        return "webdataset"
    hint = ""
    if not path.exists() and _HUB_NAME.fullmatch(place):
        hint = f"; for the hub write hub:{place}"
    raise DataError(
        f"{quote(place, 120)} is {'no source' if path.exists() else 'not there'}; give a folder, "
        f"a .jsonl, a .csv or a .tar{hint}"
    )


def _look_into(folder: Path, place: str) -> str:
    if any((folder / name).is_file() for name in METADATA):
        return "imagefolder"
    if any((folder / name).is_file() for name in _SAVED):
        return "datasets"
    stems: dict[str, set[str]] = {"pictures": set(), ".txt": set(), ".tar": set()}
    for name in _names(folder):
        stem, suffix = os.path.splitext(name)
        if os.path.basename(name) in METADATA:
            raise DataError(f"{quote(place, 120)} has {quote(name)}; give the folder that it is in")
        stems.get("pictures" if suffix.lower() in PICTURES else suffix.lower(), set()).add(stem)
    if stems["pictures"] & stems[".txt"]:
        return "pairs"
    if stems[".tar"] and not stems["pictures"]:
        return "webdataset"
    if any("/" in stem for stem in stems["pictures"]):
        return "classes"
    if stems["pictures"]:
        raise DataError(
            f"{quote(place, 120)} has pictures and no captions; write metadata.jsonl with "
            "file_name and text, or a .txt beside each picture"
        )
    raise DataError(f"{quote(place, 120)} has no captioned picture; give a folder with pictures")


def _names(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield the names of files below a folder; hidden ones and linked folders are left out."""
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot read {quote(str(folder), 200)}: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _names(folder / entry.name, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name


def _open(kind: str, place: str, shown: str) -> Source:
    name, _, split = place.partition("#")
    if kind == "hub":
        return open_hub(name, shown, split)
    if kind == "datasets":
        return open_saved(_existing(name, True), shown, split)
    if kind == "webdataset":
        return _open_shards(place, shown)
    if kind == "table":
        return TableSource(_existing(place, False), shown)
    kinds = {"imagefolder": ImageFolderSource, "pairs": PairsSource, "classes": ClassesSource}
    return kinds[kind](_existing(place, True), shown)


def _existing(place: str, folder: bool) -> Path:
    path = Path(place)
    if not (path.is_dir() if folder else path.is_file()):
        raise DataError(f"{quote(place, 120)} is no {'folder' if folder else 'regular file'}")
    return path


def _open_shards(place: str, shown: str) -> Source:
    names = [each for pattern in place.split("::") for each in expand(pattern)]
    if "://" in place:
        for address in names:
            if not address.startswith(("http://", "https://")):
                raise DataError(f"{quote(address, 160)} is no http or https address")
        return RemoteSource(names, shown)
    shards = []
    for name in names:
        path = Path(name)
        shards += sorted(path.glob("*.tar")) if path.is_dir() else [path]
    return WebDatasetSource(shards, shown)
