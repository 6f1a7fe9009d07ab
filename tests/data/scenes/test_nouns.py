"""Checks on the hand-made noun table, read as plain text."""

import csv
from pathlib import Path

TABLE = Path(__file__).parents[3] / "limner" / "data" / "scenes" / "nouns.tsv"
COLUMNS = ["emoji", "singular", "plural", "zh", "classifier", "colour", "aliases", "aliases_zh"]
COLOURS = {
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "gray",
    "mixed",
}


def read_rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


def duplicates(words: list[str]) -> set[str]:
    return {word for word in words if words.count(word) > 1}


def is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def test_header_and_size() -> None:
    assert TABLE.read_text(encoding="utf-8").splitlines()[0].split("\t") == COLUMNS
    rows = read_rows()
    assert 264 <= len(rows) <= 280
    assert all(list(row) == COLUMNS and None not in row.values() for row in rows)


def test_cells_are_trimmed_and_required_ones_filled() -> None:
    for row in read_rows():
        assert all(cell == cell.strip() for cell in row.values()), row
        assert all(row[name] for name in COLUMNS[:6]), row


def test_names_are_unique() -> None:
    rows = read_rows()
    for column in ("emoji", "singular", "plural", "zh"):
        assert not duplicates([row[column] for row in rows]), column


def test_english_words_belong_to_one_row() -> None:
    words: list[str] = []
    for row in read_rows():
        aliases = row["aliases"].split("|") if row["aliases"] else []
        words += [*{row["singular"], row["plural"]}, *aliases]
    assert all(words)
    assert not duplicates(words)


def test_chinese_words_belong_to_one_row() -> None:
    words: list[str] = []
    for row in read_rows():
        words += [row["zh"], *(row["aliases_zh"].split("|") if row["aliases_zh"] else [])]
    assert all(words)
    assert not duplicates(words)


def test_english_is_lower_case_without_articles() -> None:
    for row in read_rows():
        for word in [row["singular"], row["plural"], *row["aliases"].split("|")]:
            assert word == word.lower()
            assert not word.startswith(("a ", "an ", "the "))


def test_chinese_has_han_characters() -> None:
    for row in read_rows():
        assert any(map(is_han, row["zh"])), row
        assert len(row["classifier"]) == 1 and is_han(row["classifier"]), row


def test_colours_are_legal() -> None:
    assert {row["colour"] for row in read_rows()} <= COLOURS
