"""Checks on the hand-made noun table, read as plain text."""

import csv
import hashlib
import re
from dataclasses import replace
from pathlib import Path

from limner.data.scenes.nouns import are_wide, nouns
from limner.data.scenes.words import draws_wide, scene_grammar
from limner.text.items import Phrasebook, itemise
from limner.text.lexicon import usual_phrases
from limner.text.words import count_words

TABLE = Path(__file__).parents[3] / "limner" / "data" / "scenes" / "nouns.tsv"
COLUMNS = ["emoji", "singular", "plural", "zh", "classifier", "colour", "aliases", "aliases_zh"]
MARK = "paint"
FIRST = 278  # rows that the first models know by their numbers
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
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE, restval=""))


def duplicates(words: list[str]) -> set[str]:
    return {word for word in words if words.count(word) > 1}


def split(cell: str) -> list[str]:
    return cell.split("|") if cell else []


def is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def test_header_and_size() -> None:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t") == [*COLUMNS, MARK]
    assert len(lines) > 1 + 900
    assert {len(line.split("\t")) for line in lines[1 : 1 + FIRST]} == {len(COLUMNS)}
    assert {len(line.split("\t")) for line in lines[1 + FIRST :]} == {len(COLUMNS) + 1}
    assert {row[MARK] for row in read_rows()} == {"", "no"}


def test_the_first_rows_are_those_that_models_know() -> None:
    rows = TABLE.read_text(encoding="utf-8").splitlines()[1 : 1 + FIRST]
    digest = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    assert digest.startswith("d02545bf5589bbe8"), "weights of the first models number these things"


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


def test_names_of_the_wide_world_are_no_words_of_anything_else() -> None:
    taken = {row.name for row in usual_phrases()} | COLOURS
    taken |= {each for row in usual_phrases() if row.kind != "class" for each in row.phrases}
    for row in read_rows()[FIRST:]:
        names = [row["singular"], row["plural"], row["zh"], *split(row["aliases"])]
        assert not taken & {*names, *split(row["aliases_zh"])}, row
        # "a blue red panda" would be said of a repainted one.
        assert not COLOURS & set(re.split("[ -]", row["singular"])), row


def test_a_model_of_the_wide_world_reads_every_name_as_one_thing() -> None:
    book = Phrasebook(scene_grammar(wide=True))
    for row in read_rows():
        names = [row["singular"], *split(row["aliases"]), row["zh"], *split(row["aliases_zh"])]
        for text in (*names, row["plural"]):
            read = [(item.kind in ("thing", "many"), item.name) for item in itemise(text, book)]
            assert read == [(True, row["singular"])], text


def test_what_is_wide_is_told_by_its_things() -> None:
    first, wide = ([noun.singular for noun in nouns(wide=which)] for which in (False, True))
    assert wide[:FIRST] == first and len(wide) > 900
    assert not are_wide(first) and are_wide(wide) and not are_wide(["no such thing"])
    assert draws_wide(replace(count_words([]), grammar=scene_grammar(wide=True)))
    assert not draws_wide(replace(count_words([]), grammar=scene_grammar()))
    assert not draws_wide(None) and not draws_wide(count_words(["a raccoon"]))
