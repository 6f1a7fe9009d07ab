"""Tables of captions: metadata.jsonl and metadata.csv of an image folder, and JSONL or CSV alone.

A row names a picture (`file_name`, `image` or `path`, from the table's folder) and its captions
(`text`, `caption`, `text_zh` and the like; strings or lists of them).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limner.data.caption_text import PICTURE_KEYS, captions_of
from limner.data.folders import (
    Found,
    inspect_file,
    note,
    picture_sample,
    pictures_of,
    walk,
)
from limner.data.samples import IndexedSource, Losses, Sample
from limner.errors import DataError, quote

METADATA = ("metadata.jsonl", "metadata.csv")
TABLES = (".jsonl", ".csv")
ROW_LIMIT = 16 * 2**20  # bytes


class Row:
    """One row of a table: its values or why it has none, and where it stands."""

    def __init__(self, where: str, values: Mapping[str, Any] | None, reason: str = "") -> None:
        self.where, self.values, self.reason = where, values, reason


class TableSource(IndexedSource):
    """The pictures that a JSONL or CSV file names; they lie in its folder or below."""

    kind = "table"

    def __init__(self, table: Path, place: str) -> None:
        losses = Losses()
        super().__init__(place, losses, list(read_table(table, losses)))


class ImageFolderSource(IndexedSource):
    """A folder with metadata.jsonl or metadata.csv, as Hugging Face's imagefolder has it."""

    kind = "imagefolder"

    def __init__(self, root: Path, place: str) -> None:
        tables = [root / name for name in METADATA if (root / name).exists()]
        if len(tables) != 1:
            raise DataError(
                f"{quote(place, 120)} has {len(tables)} tables of captions; an image folder has "
                "either metadata.jsonl or metadata.csv"
            )
        losses = Losses()
        samples = list(read_table(tables[0], losses))
        told = {each.key for each in samples} | {each.key for each in losses.samples}
        for each in pictures_of(root, walk(root, losses), losses):
            if each.name not in told:
                note(losses, root, each.name, "no_caption", f"is not in {tables[0].name}")
        super().__init__(place, losses, samples)


def read_table(table: Path, losses: Losses) -> Iterator[Sample]:
    """Yield the samples of a JSONL or CSV file in its order; bad rows go to the losses.

    A picture named twice gets the captions of both rows. Raises DataError when the table cannot be
    read at all.
    """
    root = table.parent
    merged: dict[str, tuple[int, tuple[str, ...]]] = {}
    read = _csv_rows if table.suffix.lower() == ".csv" else _json_rows
    try:
        for row in read(table):
            if row.values is None:
                losses.add(row.where, f"{table}: {row.where}", "bad_row", row.reason)
                continue
            name = _picture_name(row.values)
            if name is None:
                reason = f"{table.name}, {row.where} names no picture under {PICTURE_KEYS[0]}"
                losses.add(row.where, f"{table}: {row.where}", "bad_row", reason)
                continue
            try:
                captions = captions_of(row.values)
            except DataError as error:
                reason = f": {error} ({table.name}, {row.where})"
                note(losses, root, name, error.code or "bad_caption", reason)
                continue
            size, refusal = inspect_file(root, name)
            if refusal:
                code = "no_picture" if "No such file" in refusal else "unsafe"
                note(losses, root, name, code, f"{refusal} ({table.name}, {row.where})")
                continue
            before = merged.get(name, (0, ()))[1]
            merged[name] = (size, tuple(dict.fromkeys((*before, *captions))))
    except OSError as error:
        raise DataError(f"cannot read {quote(str(table), 200)}: {error.strerror}") from error
    for name, (size, captions) in merged.items():
        yield picture_sample(root, Found(name, size), captions)


def _picture_name(values: Mapping[str, Any]) -> str | None:
    for key in PICTURE_KEYS:
        name = values.get(key)
        if isinstance(name, str) and name.strip():
            return name.removeprefix("./")
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
        values = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        at = offset + error.start + len(line) - len(body)
        return Row(where, None, f"{table.name}, {where} is not UTF-8 at byte offset {at}")
    except (ValueError, RecursionError) as error:
        return Row(where, None, f"{table.name}, {where} is no JSON object: {error}")
    if not isinstance(values, dict):
        return Row(where, None, f"{table.name}, {where} is no JSON object")
    return Row(where, values)


def _csv_rows(table: Path) -> Iterator[Row]:
    with table.open("rb") as file:
        lines = (line.decode("utf-8", "surrogateescape") for line in file)
        reader = csv.reader(_without_bom(lines), strict=True)
        header = _next_record(reader)
        columns = [] if isinstance(header, str) or header is None else header
        if not set(columns) & set(PICTURE_KEYS):
            raise DataError(
                f"{quote(str(table), 200)} has no column {PICTURE_KEYS[0]}; write a header such as "
                "file_name,text and save the table as UTF-8"
            )
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


def _next_record(reader: Any) -> list[str] | str | None:
    """Return the next record, None at the end, or what is wrong with it."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return str(error)


def _without_bom(lines: Iterator[str]) -> Iterator[str]:
    for first in lines:
        yield first.removeprefix("\ufeff")
        break
    yield from lines
