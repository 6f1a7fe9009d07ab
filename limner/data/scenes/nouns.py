"""The noun table: what can stand in a scene, in English and Chinese.

Its first FIRST rows are what the first models were shown, and their order stays; the whole table is
the wide world, which scenes of the levels above 5 are drawn from (`limner.data.scenes.graph`).
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

FIRST = 278


@dataclass(frozen=True)
class Noun:
    """One drawable object: its emoji, its words in two languages and its natural colour.

    `colour` is a key of `COLOURS` or "mixed" when no single colour dominates the drawing. What is
    not `painted` (flags, signs, faces) is always drawn in its own colours.
    """

    emoji: str
    singular: str
    plural: str
    chinese: str
    classifier: str
    colour: str
    aliases: tuple[str, ...]
    chinese_aliases: tuple[str, ...]
    painted: bool = True


def nouns(*, wide: bool = False) -> tuple[Noun, ...]:
    """Return the first FIRST nouns of the table, or every one, in its order."""
    return _table() if wide else _table()[:FIRST]


@cache
def noun_index() -> dict[str, int]:
    """Return the position of each noun of the whole table by its English singular."""
    return {noun.singular: index for index, noun in enumerate(_table())}


def noun_of(name: str) -> Noun:
    """Return the row of an English singular."""
    return _table()[noun_index()[name]]


def are_wide(names: Iterable[str]) -> bool:
    """Say whether any of these names of things is none of the first nouns."""
    return any(noun_index().get(name, 0) >= FIRST for name in names)


@cache
def _table() -> tuple[Noun, ...]:
    table = resources.files("limner.data.scenes").joinpath("nouns.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(
        Noun(
            emoji=row["emoji"],
            singular=row["singular"],
            plural=row["plural"],
            chinese=row["zh"],
            classifier=row["classifier"],
            colour=row["colour"],
            aliases=_split(row["aliases"]),
            chinese_aliases=_split(row["aliases_zh"]),
            painted=row["paint"] != "no",
        )
        for row in rows
    )


def _split(cell: str | None) -> tuple[str, ...]:
    return tuple(part for part in (cell or "").split("|") if part)
