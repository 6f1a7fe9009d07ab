"""The noun table: what can stand in a scene, in English and Chinese."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Noun:
    """One drawable object: its emoji, its words in two languages and its natural colour.

    `colour` is a key of `COLOURS` or "mixed" when no single colour dominates the drawing.
    """

    emoji: str
    singular: str
    plural: str
    chinese: str
    classifier: str
    colour: str
    aliases: tuple[str, ...]
    chinese_aliases: tuple[str, ...]


@cache
def nouns() -> tuple[Noun, ...]:
    """Return every noun of the table, in its order."""
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
        )
        for row in rows
    )


@cache
def noun_index() -> dict[str, int]:
    """Return the position of each noun by its English singular."""
    return {noun.singular: index for index, noun in enumerate(nouns())}


def _split(cell: str | None) -> tuple[str, ...]:
    return tuple(part for part in (cell or "").split("|") if part)
