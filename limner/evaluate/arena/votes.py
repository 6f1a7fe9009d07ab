"""The store of an arena: one SQLite file with its models, prompts, pictures, duels and votes.

A transaction is on the disk when its call returns, so that an arena goes on where it was after a
crash. Every call opens the file anew: threads and processes may share it.
"""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from limner.errors import DataError, ResourceError, UsageError, quote
from limner.evaluate.arena.standings import CHOICES, Vote

_APPLICATION, _FORMAT = 0x6C696D61, 1  # "lima"
_TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE pictures (prompt INTEGER, model INTEGER, png BLOB NOT NULL,
  PRIMARY KEY (prompt, model)) STRICT;
CREATE TABLE duels (place INTEGER PRIMARY KEY, prompt INTEGER NOT NULL,
  left INTEGER NOT NULL, right INTEGER NOT NULL, choice TEXT, voted TEXT) STRICT;
"""


@dataclass(frozen=True)
class Setup:
    """What an arena is about: the models as they were named, the prompts, the drawings' seed."""

    models: tuple[str, ...]
    prompts: tuple[str, ...]
    seed: int = 0


@dataclass(frozen=True)
class Duel:
    """Two pictures of one prompt as they are shown; it does not tell who drew them."""

    place: int
    prompt: str
    left: bytes  # PNG
    right: bytes


class Votes:
    """An arena's file; DataError for a file that is none, ResourceError where it can't be used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Say whether there is a file; it need not be an arena's."""
        return self.path.exists()

    def create(self, setup: Setup, rng: random.Random) -> None:
        """Make the file with every pair of models on every prompt, in an order that `rng` draws.

        It appears whole or not at all. Raises UsageError where there is one.
        """
        shown = quote(str(self.path), 200)
        if self.exists():
            raise UsageError(f"{shown} is there already; choose another place with --out")
        fresh = Votes(self.path.with_name(f".{self.path.name}-{secrets.token_hex(8)}.tmp"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh._fill(setup, plan_duels(len(setup.prompts), len(setup.models), rng))
            fresh.path.rename(self.path)
        except OSError as error:
            raise ResourceError(
                f"cannot make the arena {shown}: {error.strerror}; choose another with --out"
            ) from error
        finally:
            fresh.path.unlink(missing_ok=True)

    def _fill(self, setup: Setup, duels: list[tuple[int, int, int]]) -> None:
        values = {"models": setup.models, "prompts": setup.prompts, "seed": setup.seed}
        with self._opened(new=True) as database:
            # BEGIN first: executescript would give every table a transaction of its own
            database.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_APPLICATION}; "
                f"PRAGMA user_version = {_FORMAT};"
            )
            database.executemany(
                "INSERT INTO settings VALUES (?, ?)",
                [(name, json.dumps(value)) for name, value in values.items()],
            )
            database.executemany(
                "INSERT INTO duels (place, prompt, left, right) VALUES (?, ?, ?, ?)",
                [(place, *each) for place, each in enumerate(duels)],
            )

    def setup(self) -> Setup:
        """Return what the arena is about."""
        rows = self._rows("SELECT name, value FROM settings")
        found = {name: json.loads(value) for name, value in rows}
        return Setup(tuple(found["models"]), tuple(found["prompts"]), found["seed"])

    def keep_conditions(self, model: int, conditions: dict[str, Any]) -> None:
        """Keep how a model draws; UsageError where earlier pictures were drawn by other weights."""
        name = f"conditions {model}"
        with self._opened() as database:
            row = database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
            if row is None:
                database.execute(
                    "INSERT INTO settings VALUES (?, ?)", (name, json.dumps(conditions))
                )
            elif json.loads(row[0])["model_hash"] != conditions["model_hash"]:
                raise UsageError(
                    f"the weights of {quote(conditions['model'])} have changed since this arena's "
                    "first pictures; begin another with --out"
                )

    def conditions(self) -> list[dict[str, Any]]:
        """Return how the models drew, those that have begun."""
        asked = "SELECT value FROM settings WHERE name LIKE 'conditions %' ORDER BY name"
        return [json.loads(value) for (value,) in self._rows(asked)]

    def undrawn(self, model: int) -> list[int]:
        """Return the numbers of the prompts that a model has still to draw."""
        rows = self._rows("SELECT prompt FROM pictures WHERE model = ?", model)
        drawn = {prompt for (prompt,) in rows}
        return [each for each in range(len(self.setup().prompts)) if each not in drawn]

    def add_pictures(self, model: int, pictures: Iterable[tuple[int, bytes]]) -> None:
        """Keep a model's pictures, (prompt's number, PNG); those that are there stay."""
        with self._opened() as database:
            database.executemany(
                "INSERT OR IGNORE INTO pictures VALUES (?, ?, ?)",
                [(prompt, model, png) for prompt, png in pictures],
            )

    def progress(self) -> tuple[int, int]:
        """Return how many duels are judged and how many there are."""
        ((done, total),) = self._rows("SELECT count(choice), count(*) FROM duels")
        return int(done), int(total)

    def next_duel(self) -> Duel | None:
        """Return the first duel that is not judged, None when all are."""
        rows = self._rows(
            "SELECT place, duels.prompt, one.png, other.png FROM duels "
            "JOIN pictures one ON one.prompt = duels.prompt AND one.model = left "
            "JOIN pictures other ON other.prompt = duels.prompt AND other.model = right "
            "WHERE choice IS NULL ORDER BY place LIMIT 1"
        )
        prompts = self.setup().prompts
        return next((Duel(place, prompts[at], *both) for place, at, *both in rows), None)

    def vote(self, place: int, choice: str) -> bool:
        """Record the choice for a duel; False where it was judged before or isn't there."""
        if choice not in CHOICES:
            raise UsageError(
                f"choice {quote(choice)}; expected {', '.join(CHOICES)}", param="choice"
            )
        with self._opened() as database:
            done = database.execute(
                "UPDATE duels SET choice = ?, voted = datetime('now') "
                "WHERE place = ? AND choice IS NULL",
                (choice, place),
            )
            return done.rowcount == 1

    def take_back(self) -> None:
        """Forget the last vote, if there is one: a slip of the finger."""
        with self._opened() as database:
            database.execute(
                "UPDATE duels SET choice = NULL, voted = NULL WHERE place = "
                "(SELECT place FROM duels WHERE choice IS NOT NULL ORDER BY place DESC LIMIT 1)"
            )

    def votes(self) -> list[Vote]:
        """Return all votes."""
        asked = "SELECT left, right, choice FROM duels WHERE choice IS NOT NULL ORDER BY place"
        return [Vote(*row) for row in self._rows(asked)]

    def _rows(self, asked: str, *values: object) -> list[Any]:
        with self._opened() as database:
            return database.execute(asked, values).fetchall()

    @contextmanager
    def _opened(self, *, new: bool = False) -> Iterator[sqlite3.Connection]:
        shown = quote(str(self.path), 200)
        mode = "rwc" if new else "rw"
        try:
            address = f"{self.path.absolute().as_uri()}?mode={mode}"
            with closing(sqlite3.connect(address, uri=True, timeout=20)) as database:
                database.execute("PRAGMA synchronous = FULL")
                if not new:
                    _check(database, shown)
                with database:
                    yield database
        except sqlite3.OperationalError as error:
            raise ResourceError(
                f"cannot use the arena {shown}: {error}; choose another with --out"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"the arena {shown} is damaged: {error}; choose another with --out"
            ) from error


def plan_duels(prompts: int, models: int, rng: random.Random) -> list[tuple[int, int, int]]:
    """Return (prompt, left, right) of every pair of models on every prompt, in an order to show."""
    pairs = list(combinations(range(models), 2))
    rng.shuffle(pairs)
    places = list(range(prompts))
    rng.shuffle(places)
    duels = []
    # Each round shows every prompt once, and the pairs take turns in it: an arena that is left
    # early has judged all pairs about equally often, and no prompt comes twice in a row.
    for turn in range(len(pairs)):
        for offset, prompt in enumerate(places):
            sides = list(pairs[(offset + turn) % len(pairs)])
            rng.shuffle(sides)
            duels.append((prompt, sides[0], sides[1]))
    return duels


def check_setup(
    stored: Setup, models: Sequence[str], prompts: Sequence[str], seed: int | None
) -> None:
    """Raise UsageError where what is asked for is not what the arena is about; empty asks all."""
    for name, found, asked in (
        ("models", list(stored.models), list(models)),
        ("prompts", list(stored.prompts), list(prompts)),
        ("seed", [stored.seed], [] if seed is None else [seed]),
    ):
        if asked and asked != found:
            raise UsageError(
                f"the arena there has other {name}, {quote(found)}; begin another with --out"
            )


def _check(database: sqlite3.Connection, shown: str) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise DataError(f"{shown} is no arena of limner; choose another with --out")
    if version > _FORMAT:
        raise DataError(
            f"{shown} was made by a newer limner ({version} > {_FORMAT}); upgrade limner to read it"
        )
