"""Tables of captions: metadata.jsonl and metadata.csv of an image folder, and JSONL or CSV alone.

A row names a picture (`file_name`, `image` or `path`, from the table's folder or one in it) and its
captions (`text`, `caption`, `text_zh` and the like; strings or lists of them). Cells of a CSV are
apart by commas, tabs, semicolons or bars.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from limner.data.sources import base, caption_text, folders
from limner.errors import DataError, quote

METADATA = ("metadata.jsonl", "metadata.csv")
READABLE = (".jsonl", ".ndjson", ".csv", ".tsv", ".txt")
ROW_LIMIT = 16 * 2**20  # bytes
_JSON = (".jsonl", ".ndjson")
_SEPARATORS = (",", "\t", ";", "|")
_FOLDERS_LIMIT = 100  # in which a picture is looked for that is not beside its table


class Row:
    """One row of a table: its values or why it has none, and where it stands."""

    def __init__(self, where: str, values: Mapping[str, Any] | None, reason: str = "") -> None:
        self.where, self.values, self.reason = where, values, reason


class TableSource(base.IndexedSource):
    """The pictures that a JSONL or CSV file names; they lie in its folder or below."""

    kind = "table"

    def __init__(self, table: Path, place: str) -> None:
        losses = base.Losses()
        super().__init__(place, losses, list(read_table(table, losses)))


class ImageFolderSource(base.IndexedSource):
    """A folder with a table: metadata.jsonl or .csv, as Hugging Face has it, or of another name."""

    kind = "imagefolder"

    def __init__(self, root: Path, place: str) -> None:
        tables = [root / name for name in METADATA if (root / name).exists()]
        tables = tables or plain_tables(root)
        if len(tables) != 1:
            raise DataError(
                f"{quote(place, 120)} has {len(tables)} tables of captions; an image folder has "
                "one, as metadata.jsonl or metadata.csv"
            )
        losses = base.Losses()
        samples = list(read_table(tables[0], losses))
        named = {each.key for each in samples} | {each.key for each in losses.samples}
        files = list(folders.walk(root, losses))
        for each in folders.pictures_of(root, files, losses):
            if each.name not in named:
                folders.note(losses, root, each.name, "no_caption", f"is not in {tables[0].name}")
        folders.pass_over_rest(files, losses, table=tables[0].name)
        super().__init__(place, losses, samples)


def plain_tables(root: Path) -> list[Path]:
    """Return the tables in a folder whose columns name pictures and captions."""
    found = [
        root / entry.name for entry in folders.entries_of(root) if not folders.is_hidden(entry.name)
    ]
    tables = [path for path in found if path.suffix.lower() in READABLE]
    return [table for table in tables if table.is_file() and is_plain(table)]


def is_plain(table: Path) -> bool:
    """Say whether a table can be read and its first row or header names pictures and captions."""
    columns = columns_of(table)
    return any(map(caption_text.is_picture, columns)) and any(map(caption_text.is_caption, columns))


def columns_of(table: Path) -> list[str]:
    """Return a table's columns: its header, or the keys of its first row; none for no table."""
    try:
        with table.open("rb") as file:
            line = file.readline(ROW_LIMIT)
    except OSError:
        return []
    if table.suffix.lower() in _JSON:
        values = _json_row(table, "", 0, line).values
        return list(values or ())
    return _cells(line.decode("utf-8", "replace"))[0]


def read_table(table: Path, losses: base.Losses) -> Iterator[base.Sample]:
    """Yield the samples of a JSONL or CSV file in its order; bad rows go to the losses.

    Raises DataError when the table cannot be read at all.
    """
    root, finder = table.parent, Finder(table.parent)
    merged: dict[str, tuple[int, tuple[str, ...]]] = {}
    read = _json_rows if table.suffix.lower() in _JSON else _csv_rows
    try:
        for row in read(table):
            # 1. A row that is no row.
            if row.values is None:
                losses.add(row.where, f"{table}: {row.where}", "bad_row", row.reason)
                continue
            # 2. Its picture, and its captions.
            name = _picture_name(row.values)
            if name is None:
                key = caption_text.PICTURE_KEYS[0]
                reason = f"{table.name}, {row.where} names no picture under {key}"
                losses.add(row.where, f"{table}: {row.where}", "bad_row", reason)
                continue
            try:
                captions = caption_text.captions_of(row.values, losses.pass_over)
            except DataError as error:
                reason = f": {error} ({table.name}, {row.where})"
                folders.note(losses, root, name, error.code or "bad_caption", reason)
                continue
            # 3. The picture's file, which is looked for and not opened.
            name, size, refusal = finder.find(name)
            if refusal:
                code = "no_picture" if _is_lack(refusal) else "unsafe"
                folders.note(losses, root, name, code, f"{refusal} ({table.name}, {row.where})")
                continue
            # 4. A picture that is named twice gets the captions of both rows.
            before = merged.get(name, (0, ()))[1]
            merged[name] = (size, tuple(dict.fromkeys((*before, *captions))))
    except OSError as error:
        raise DataError(f"cannot read {quote(str(table), 200)}: {error.strerror}") from error
    for name, (size, captions) in merged.items():
        yield folders.picture_sample(root, folders.Found(name, size), captions)


class Finder:
    """Finds the pictures that a table names: in its folder, or in a folder of that."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: list[str] | None = None

    def find(self, name: str) -> tuple[str, int, str | None]:
        """Return a picture's name below the root, its size and None, or why it is not read."""
        tidy = str(PurePosixPath(name))
        size, refusal = folders.inspect_file(self.root, tidy)
        if refusal is None or not _is_lack(refusal):
            return tidy, size, refusal
        # Names as tables of other systems have them: with backslashes, with spaces around them,
        # with accents as macOS writes them or as others do.
        slashed = str(PurePosixPath(name.replace("\\", "/")))
        near = dict.fromkeys([slashed, tidy.strip(), slashed.strip()])
        near |= dict.fromkeys(normalize(form, each) for form in ("NFC", "NFD") for each in [*near])
        for names in (near, [f"{folder}/{each}" for folder in self._below() for each in near]):
            found = {each: folders.inspect_file(self.root, each) for each in names}
            good = [(each, size) for each, (size, reason) in found.items() if reason is None]
            if len(good) == 1:
                return *good[0], None
            # Several files of one name: any choice may be the wrong picture.
            if good:
                places = ", ".join(quote(each) for each, _ in good[:3])
                return tidy, -1, f"is there {len(good)} times, as {places}; write the whole name"
        return tidy, -1, refusal

    def _below(self) -> list[str]:
        if self._folders is None:
            names = [
                entry.name
                for entry in folders.entries_of(self.root)
                if not folders.is_hidden(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
            self._folders = names if len(names) <= _FOLDERS_LIMIT else []
        return self._folders


def _is_lack(refusal: str) -> bool:
    return "No such file" in refusal or refusal.startswith("is there")


def _picture_name(values: Mapping[str, Any]) -> str | None:
    known = {caption_text.plain(key): value for key, value in values.items()}
    for key in caption_text.PICTURE_KEYS:
        name = known.get(key)
        if isinstance(name, str) and name.strip():
            return name
    return None


def _json_rows(table: Path) -> Iterator[Row]:
    offset = 0
    with table.open("rb") as file:
        number = 0
        while line := file.readline(ROW_LIMIT + 1):
            number += 1
            where, start = f"line {number}", offset
            offset += len(line)
            if len(line) > ROW_LIMIT:
                while line and not line.endswith(b"\n"):
                    line = file.readline(ROW_LIMIT)
                    offset += len(line)
                reason = f"{table.name}, {where} is longer than {ROW_LIMIT // 2**20} MiB"
                yield Row(where, None, reason)
            elif line.strip(b"\xef\xbb\xbf \t\r\n"):
                yield _json_row(table, where, start, line)


def _json_row(table: Path, where: str, offset: int, line: bytes) -> Row:
    try:
        body = line.removeprefix(b"\xef\xbb\xbf") if offset == 0 else line
        values = json.loads(body.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        at = offset + error.start + len(line) - len(body)
        return Row(where, None, f"{table.name}, {where} is not UTF-8 at byte offset {at}")
    except (ValueError, RecursionError) as error:
        return Row(where, None, f"{table.name}, {where} is no JSON object: {error}")
    if not isinstance(values, dict):
        return Row(where, None, f"{table.name}, {where} is no JSON object")
    return Row(where, values)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if again := caption_text.twice(key for key, _ in pairs):
        raise ValueError(f"the key {again!r} comes twice")
    return dict(pairs)


def _csv_rows(table: Path) -> Iterator[Row]:
    with table.open("rb") as file:
        # Bytes that are no UTF-8 stay as surrogates, and the caption is refused by its row.
        lines = (line.decode("utf-8", "surrogateescape") for line in file)
        first = next(lines, "")
        columns, separator = _cells(first)
        _check_columns(table, columns)
        reader = csv.reader(
            chain([first], lines),
            delimiter=separator,
            skipinitialspace=f"{separator} " in first,
            strict=True,
        )
        _next_record(reader)
        while (record := _next_record(reader)) is not None:
            where = f"line {reader.line_num}"
            if isinstance(record, str):
                yield Row(where, None, f"{table.name}, {where}: {record}")
            elif len(record) != len(columns):
                if record:
                    reason = f"{len(record)} cells under {len(columns)} columns"
                    yield Row(where, None, f"{table.name}, {where} has {reason}")
            else:
                yield Row(where, dict(zip(columns, record, strict=True)))


def _cells(header: str) -> tuple[list[str], str]:
    """Return the columns of a header, and what separates them: what makes most sense of it."""
    # A header in the wrong separator is one long cell; the right one names a picture, and most
    # cells.
    found = []
    for separator in _SEPARATORS:
        line = header.removeprefix("\ufeff")
        reader = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
        record = _next_record(reader)
        cells = record if isinstance(record, list) else []
        found.append(([cell.strip() for cell in cells], separator))
    return max(found, key=lambda each: (any(map(caption_text.is_picture, each[0])), len(each[0])))


def _check_columns(table: Path, columns: list[str]) -> None:
    if not any(map(caption_text.is_picture, columns)):
        raise DataError(
            f"{quote(str(table), 200)} has no column {caption_text.PICTURE_KEYS[0]}; write a "
            "header such as file_name,text and save the table as UTF-8"
        )
    if again := caption_text.twice(columns):
        raise DataError(
            f"{quote(str(table), 200)} has two columns named {quote(again)}; rename one of them"
        )
    if not any(map(caption_text.is_caption, columns)):
        raise DataError(
            f"{quote(str(table), 200)} has the columns {', '.join(map(quote, columns[:8]))} and "
            "none of captions; name one text or caption"
        )


def _next_record(reader: Any) -> list[str] | str | None:
    """Return the next record, None at the end, or what is wrong with it."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return str(error)
