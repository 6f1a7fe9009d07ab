"""The gallery of the page: one SQLite file with finished pictures and how each was drawn.

A picture is on the disk when `keep` returns, whatever happens to the process then. Every call opens
the file anew: threads and processes may share it. Each holder of a key sees their own pictures.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import DataError, ResourceError, quote

_APPLICATION, _FORMAT = 0x6C696D67, 1  # "limg"
_TABLES = """
CREATE TABLE IF NOT EXISTS pictures (
  number INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, made REAL NOT NULL,
  way TEXT NOT NULL, prompt TEXT NOT NULL, revised TEXT NOT NULL, seed INTEGER NOT NULL,
  model TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, kind TEXT NOT NULL,
  settings TEXT NOT NULL, notes TEXT NOT NULL, favourite INTEGER NOT NULL DEFAULT 0,
  file BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS of_owner ON pictures (owner, number);
"""
_SHOWN = (
    "number, made, way, prompt, revised, seed, model, width, height, kind, settings, notes, "
    "favourite"
)
_MAKING = threading.Lock()
_USED = (
    "SELECT (page_count - freelist_count) * page_size "
    "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
FULL = "gallery_full"
PAGE = 60  # pictures of one list


@dataclass(frozen=True)
class Entry:
    """A picture that is to be kept: how it was drawn, and its `file` in the format `kind`.

    `way` is "draw", "vary" or "edit"; `settings` and `notes` are plain JSON values.
    """

    way: str
    prompt: str
    revised: str
    seed: int
    model: str
    size: tuple[int, int]
    kind: str
    file: bytes
    settings: Mapping[str, Any]
    notes: Sequence[Mapping[str, Any]] = ()


class Gallery:
    """A gallery's file, which is made by the first picture; None as its path keeps nothing.

    `limit` is how many bytes of pictures it holds. Every method raises DataError for a file that is
    no gallery and ResourceError where it can't be used.
    """

    def __init__(self, path: Path | None, limit: int = 2**31) -> None:
        self.path, self.limit = path, limit

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return self.path is not None

    def check(self) -> None:
        """Raise where the file is there and can't be used."""
        with self._opened():
            pass

    def keep(self, owner: str, entry: Entry) -> int:
        """Write a picture and return its number; ResourceError where there is no room."""
        values = (
            owner, time.time(), entry.way, entry.prompt, entry.revised, entry.seed, entry.model,
            *entry.size, entry.kind, json.dumps(dict(entry.settings), ensure_ascii=False),
            json.dumps([dict(each) for each in entry.notes], ensure_ascii=False), entry.file,
        )  # fmt: skip
        with self._opened(make=True) as file:
            if file is None:
                raise ResourceError("this server keeps no gallery")
            return self._add(file, values)

    def _add(self, file: sqlite3.Connection, values: tuple[Any, ...]) -> int:
        marks = ", ".join("?" * len(values))
        with file:
            file.execute("BEGIN IMMEDIATE")  # so that the limit is exact
            (used,) = file.execute(_USED).fetchone()
            if used + len(values[-1]) > self.limit:
                raise ResourceError("the gallery is full; delete pictures of it", code=FULL)
            done = file.execute(
                "INSERT INTO pictures (owner, made, way, prompt, revised, seed, model, width, "
                f"height, kind, settings, notes, file) VALUES ({marks})",
                values,
            )
            return int(done.lastrowid or 0)

    def find(
        self,
        owner: str,
        *,
        search: str = "",
        favourites: bool = False,
        before: int | None = None,
        count: int = PAGE,
    ) -> list[dict[str, Any]]:
        """Return what is known of pictures, the latest first: those whose prompt has `search`.

        `before` is the number that they must be below.
        """
        wanted = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        with self._opened() as file:
            if file is None:
                return []
            found = file.execute(
                f"SELECT {_SHOWN} FROM pictures WHERE owner = ? AND number < ? "
                "AND favourite >= ? AND (prompt LIKE ? ESCAPE '\\' OR revised LIKE ? ESCAPE '\\') "
                "ORDER BY number DESC LIMIT ?",
                (
                    owner, 2**62 if before is None else before, int(favourites),
                    f"%{wanted}%", f"%{wanted}%", count,
                ),
            )  # fmt: skip
            return [_shown(row) for row in found]

    def one(self, owner: str, number: int) -> dict[str, Any] | None:
        """Return what is known of a picture; None for one that is not there or another's."""
        with self._opened() as file:
            if file is None:
                return None
            row = file.execute(
                f"SELECT {_SHOWN} FROM pictures WHERE owner = ? AND number = ?", (owner, number)
            ).fetchone()
            return None if row is None else _shown(row)

    def file(self, owner: str, number: int) -> tuple[bytes, str] | None:
        """Return a picture's file and its format; None as `one`."""
        with self._opened() as file:
            if file is None:
                return None
            row = file.execute(
                "SELECT file, kind FROM pictures WHERE owner = ? AND number = ?", (owner, number)
            ).fetchone()
            return None if row is None else (bytes(row[0]), str(row[1]))

    def mark(self, owner: str, number: int, favourite: bool) -> bool:
        """Make a picture a favourite, or none; say whether it is there."""
        return self._change(
            "UPDATE pictures SET favourite = ? WHERE owner = ? AND number = ?",
            (int(favourite), owner, number),
        )

    def delete(self, owner: str, number: int) -> bool:
        """Delete a picture, its bytes overwritten; say whether it was there."""
        return self._change("DELETE FROM pictures WHERE owner = ? AND number = ?", (owner, number))

    def _change(self, query: str, values: tuple[Any, ...]) -> bool:
        with self._opened() as file:
            if file is None:
                return False
            return file.execute(query, values).rowcount == 1

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[sqlite3.Connection | None]:
        """Give the file's connection; None where there is none and it is not to be made."""
        if self.path is None or not (make or self.path.exists()):
            yield None
            return
        shown = quote(str(self.path), 200)
        try:
            if make and not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # Prompts are nobody else's business.
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as file:
                _prepare(file, shown)
                yield file
        except sqlite3.DatabaseError as error:
            # "file is not a database" is of this class itself; a full or locked disk is below it.
            kind = DataError if type(error) is sqlite3.DatabaseError else ResourceError
            raise kind(f"cannot use the gallery {shown}: {error}; see --gallery") from error
        except OSError as error:
            raise ResourceError(
                f"cannot use the gallery {shown}: {error.strerror}; see --gallery"
            ) from error


def _prepare(file: sqlite3.Connection, shown: str) -> None:
    """Make the tables of a new file; DataError for one that is something else."""
    file.execute("PRAGMA secure_delete = ON")
    # At one moment: another may be making the tables just now.
    file.execute("BEGIN")
    kind, version, tables = (
        file.execute(query).fetchone()[0]
        for query in (
            "PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema",
        )
    )  # fmt: skip
    file.execute("COMMIT")
    if kind == _APPLICATION:
        if version == _FORMAT:
            return
        raise DataError(f"{shown} is a gallery of another version of limner; see --gallery")
    if kind or tables:
        raise DataError(f"{shown} is no gallery of limner's; see --gallery")
    with _MAKING:
        # A commit is on the disk when it returns (synchronous is FULL unless it is changed).
        file.execute("PRAGMA journal_mode = WAL")
        file.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_APPLICATION}; "
            f"PRAGMA user_version = {_FORMAT}; COMMIT;"
        )


def _shown(row: Sequence[Any]) -> dict[str, Any]:
    """Return a row as plain JSON values; the seed as text, for JavaScript rounds large numbers."""
    found = dict(zip(_SHOWN.split(", "), row, strict=True))
    return found | {
        "seed": str(found["seed"]),
        "settings": json.loads(found["settings"]),
        "notes": json.loads(found["notes"]),
        "favourite": bool(found["favourite"]),
    }
