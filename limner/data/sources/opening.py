"""Captioned pictures from wherever they are: one function that opens every kind of source.

`open_source(place)` looks at what is there and chooses; `kind:place` forces a kind. See KINDS.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from limner.data.sources import caption_text, folders, hub, tables
from limner.data.sources.base import Source
from limner.data.sources.shards import RemoteSource, WebDatasetSource, expand
from limner.errors import DataError, UsageError, did_you_mean, quote

KINDS = {
    "imagefolder": "a folder of pictures with metadata.jsonl, metadata.csv or a table like these",
    "pairs": "a folder of pictures, each with a .txt of the same stem, beside it or in captions/",
    "classes": "a folder with a folder of pictures for each class",
    "table": "a .jsonl, .csv, .tsv or .txt file that names pictures beside or below it",
    "webdataset": "tar files: one, a folder of them, a pattern {0000..0099}.tar, or http addresses",
    "datasets": "a folder that Hugging Face datasets saved; #NAME chooses a split",
    "hub": "owner/name of a dataset on the hub; #NAME chooses a split",
}
_SAVED = ("dataset_info.json", "dataset_dict.json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_TABLE_NAME = re.compile(r"caption|prompt|annotation|metadata|descri", re.IGNORECASE)
_PICTURE_NAME = re.compile(rb"\.(png|jpe?g|jfif|webp)\b", re.IGNORECASE)
_TABLES_LIMIT = 200  # files of which the beginning is looked at


def open_source(place: str | os.PathLike[str], *, least: int = 1, strict: bool = True) -> Source:
    """Open the captioned pictures at a place; the order of its samples is always the same.

    Raises UsageError for an unknown kind, DataError when there is nothing of the kind and, with
    `strict`, when there are fewer than `least` samples or more than 1 % of them are bad.
    """
    text = os.fspath(place)
    prefix, colon, rest = text.partition(":")
    forced = prefix if colon and prefix in KINDS else None
    # A kind that is misspelt would be taken for the name of a folder that is not there.
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
    if path.suffix.lower() == ".tar" or "{" in place:
        return "webdataset"
    if path.exists() and place.lower().endswith(folders.ARCHIVES):
        raise DataError(
            f"{quote(place, 120)} is an archive that cannot be read in place; unpack it and give "
            "the folder, or the .tar"
        )
    if path.suffix.lower() in tables.READABLE:
        return "table"
    hint = ""
    if not path.exists() and _HUB_NAME.fullmatch(place):
        hint = f"; for the hub write hub:{place}"
    raise DataError(
        f"{quote(place, 120)} is {'no source' if path.exists() else 'not there'}; give a folder, "
        f"a .jsonl, a .csv or a .tar{hint}"
    )


def _look_into(folder: Path, place: str) -> str:
    # 1. What names itself: a table of metadata, or what `datasets` saved.
    if any((folder / name).is_file() for name in tables.METADATA):
        return "imagefolder"
    if any((folder / name).is_file() for name in _SAVED):
        return "datasets"
    names = list(_names(folder))
    pictures, texts = _with(names, folders.PICTURES), _with(names, caption_text.TEXTS)
    for name in names:
        if os.path.basename(name) in tables.METADATA:
            raise DataError(f"{quote(place, 120)} has {quote(name)}; give the folder that it is in")
    # 2. What holds captions for certain: a file for a picture, tar files, one table.
    if folders.pair_captions(pictures, {os.path.splitext(name)[0] for name in texts}):
        return "pairs"
    if not pictures and _with(names, [".tar"]):
        return "webdataset"
    if pictures and _has_table(folder, names, place):
        return "imagefolder"
    # 3. Captions that nobody would read are an error: else folders' names would be taken.
    _refuse_loose_texts(texts, pictures, place)
    # 4. Folders' names at last, which every folder has.
    if any("/" in name for name in pictures):
        return "classes"
    if pictures:
        raise DataError(
            f"{quote(place, 120)} has pictures and no captions; write metadata.jsonl with "
            "file_name and text, or a .txt beside each picture"
        )
    _refuse_others(names, place)
    raise DataError(f"{quote(place, 120)} has no captioned picture; give a folder with pictures")


def _with(names: list[str], suffixes: Collection[str]) -> list[str]:
    return [name for name in names if os.path.splitext(name)[1].lower() in suffixes]


def _refuse_others(names: list[str], place: str) -> None:
    """Raise DataError for archives and pictures that are there and cannot be read."""
    if archives := [name for name in names if name.lower().endswith(folders.ARCHIVES)]:
        raise DataError(
            f"{quote(place, 120)} has {len(archives)} archives that cannot be read in place, as "
            f"{quote(archives[0])}; unpack them and give the folder, or the .tar"
        )
    if others := _with(names, folders.OTHER_PICTURES):
        raise DataError(
            f"{quote(place, 120)} has {len(others)} pictures in formats that limner does not read, "
            f"as {quote(others[0])}; give PNG, JPEG or WebP"
        )


def _has_table(folder: Path, names: list[str], place: str) -> bool:
    """Say whether one table of a folder names its pictures and captions.

    Raises DataError for several, for one in another folder, and for a file that seems to hold
    captions and cannot be read: else folders' names would be taken instead.
    """
    candidates = [
        name for name in _with(names, (*folders.TABLES, ".txt")) if not folders.is_notice(name)
    ]
    candidates = candidates[:_TABLES_LIMIT]
    plain = [name for name in _with(candidates, tables.READABLE) if tables.is_plain(folder / name)]
    here = [name for name in plain if "/" not in name]
    if len(here) == 1:
        return True
    if here:
        raise DataError(
            f"{quote(place, 120)} has {len(here)} tables of captions, "
            f"{', '.join(quote(name) for name in here[:4])}; give one of them as the source"
        )
    if plain:
        raise DataError(
            f"{quote(place, 120)} has {quote(plain[0])}; give the folder that it is in, or this "
            "table as the source"
        )
    for name in candidates:
        if not ("/" in name and name.lower().endswith(".txt")) and _seems_captions(folder / name):
            raise DataError(
                f"{quote(place, 120)} has {quote(name)}, which seems to hold captions and is not "
                "plain; write a table such as metadata.csv with the columns file_name and text, or "
                "give classes:FOLDER to take the folders' names as captions"
            )
    return False


def _seems_captions(table: Path) -> bool:
    """Say whether a file tells of pictures: by its name, or because its beginning names one."""
    if _TABLE_NAME.search(table.stem):
        return True
    try:
        with table.open("rb") as file:
            return bool(_PICTURE_NAME.search(file.read(4096)))
    except OSError:
        return False


def _refuse_loose_texts(texts: list[str], pictures: list[str], place: str) -> None:
    """Raise DataError for caption files, in folders or beside pictures, of no picture's name."""
    flat = any("/" not in name for name in pictures)
    loose = [name for name in texts if (flat or "/" in name) and not folders.is_notice(name)]
    if pictures and loose:
        raise DataError(
            f"{quote(place, 120)} has {len(loose)} text files that have no picture's name, as "
            f"{quote(loose[0])}; name each like its picture and lay it beside it, or give "
            "classes:FOLDER to take the folders' names as captions"
        )


def _names(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield the names of files below a folder; hidden ones and linked folders are left out."""
    for entry in folders.entries_of(folder):
        if folders.is_hidden(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _names(folder / entry.name, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name


def _open(kind: str, place: str, shown: str) -> Source:
    name, _, split = place.partition("#")
    if kind == "hub":
        return hub.open_hub(name, shown, split)
    if kind == "datasets":
        return hub.open_saved(_existing(name, True), shown, split)
    if kind == "webdataset":
        return _open_shards(place, shown)
    if kind == "table":
        return tables.TableSource(_existing(place, False), shown)
    kinds = {
        "imagefolder": tables.ImageFolderSource,
        "pairs": folders.PairsSource,
        "classes": folders.ClassesSource,
    }
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
    shards: list[Path] = []
    packed: list[str] = []
    for name in names:
        path = Path(name)
        below = list(_names(path)) if path.is_dir() else []
        shards += [path / each for each in below if each.lower().endswith(".tar")]
        packed += [each for each in below if each.lower().endswith(folders.ARCHIVES)]
        shards += [] if path.is_dir() else [path]
    source = WebDatasetSource(shards, shown)
    for name in packed:
        if not name.lower().endswith(".tar"):
            source.losses.pass_over(folders.UNREAD_ARCHIVE, name)
    return source
