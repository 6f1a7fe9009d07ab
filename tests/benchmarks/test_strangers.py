"""The prompts of strangers name what the table of nouns knows, and true scenes are all right."""

from pathlib import Path

import pytest
import torch

from benchmarks.strangers import Answer, Row, mark, read_rows, share, table
from benchmarks.strangers_make import write
from limner.data.backgrounds import BACKGROUNDS
from limner.data.nouns import noun_index
from limner.data.scenes import Graph, Thing
from limner.data.sprites import COLOURS
from limner.evaluate.reading import Reader, Reading
from limner.evaluate.scenes import true_pictures


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.prompt: row for row in read_rows()}


def test_the_table_is_well_formed(rows: dict[str, Row]) -> None:
    assert len(rows) == len(read_rows()) == 300
    kinds = [row.kind for row in rows.values()]
    assert kinds.count("free") == 60
    assert 90 <= sum(row.language == "zh" for row in rows.values()) <= 110
    for row in rows.values():
        named = frozenset[str]().union(*row.objects) | row.without
        assert row.language in ("en", "zh"), row
        assert named <= set(noun_index()), row
        assert frozenset[str]().union(*row.colours) <= set(COLOURS), row
        assert row.backgrounds <= set(BACKGROUNDS), row
        assert all(count == "many" or int(count) > 1 for count in row.counts), row
        assert len(row.counts) <= len(row.objects), row
        assert not any(row.colours) or len(row.colours) <= len(row.objects), row


def test_the_script_writes_the_table_that_is_there(tmp_path: Path) -> None:
    write(tmp_path / "table.tsv")
    assert {row.prompt for row in read_rows(tmp_path / "table.tsv")} == {
        row.prompt for row in read_rows()
    }


def test_true_pictures_of_what_was_asked_are_right(rows: dict[str, Row], emoji_font: Path) -> None:
    asked = {
        "3 peaches": Graph((Thing("peach", count=3),), "plain:blue"),
        "a red bubble tea and a blue island": Graph(
            (Thing("bubble tea", "red"), Thing("island", "blue")), "meadow", "left"
        ),
        "a gold car on the beach": Graph((Thing("car", "yellow"),), "beach"),
        "the beach": Graph((Thing("dog"),), "beach"),
        "大白兔": Graph((Thing("rabbit", "white"),), "plain:green"),
    }
    for prompt, shown in zip(asked, read(list(asked.values()), emoji_font), strict=True):
        marks = mark(rows[prompt], shown)
        assert all(marks.values()), (prompt, marks, shown)


def test_other_pictures_are_wrong_where_they_differ(rows: dict[str, Row], emoji_font: Path) -> None:
    dog, two = read(
        [Graph((Thing("dog"),), "snow"), Graph((Thing("peach", count=2),), "beach")], emoji_font
    )
    assert mark(rows["3 peaches"], two) == {
        "objects": True, "any": True, "count": False, "whole": False
    }  # fmt: skip
    assert mark(rows["a gold car on the beach"], dog) == {
        "objects": False, "any": False, "colour": False, "background": False, "whole": False
    }  # fmt: skip
    assert mark(rows["hello"], dog) == {"whole": False}
    assert mark(rows["my dog max"], dog)["whole"]


def test_what_must_not_be_there_and_what_no_picture_shows(rows: dict[str, Row]) -> None:
    def shows(*nouns: str, ground: str = "beach") -> Reading:
        return Reading(ground, tuple(map(Thing, nouns)))

    row = next(row for row in rows.values() if " without " in row.prompt)
    (noun,), (other,) = row.objects[0], row.without
    assert mark(row, shows(noun))["whole"]
    assert not mark(row, shows(noun, other))["whole"]
    ten = rows["10 rabbits"]
    assert ten.beyond
    assert not mark(ten, Reading("beach", (Thing("rabbit", count=5),)))["whole"]
    places = next(row for row in rows.values() if row.prompt.endswith("at the beach at night"))
    (noun,) = places.objects[0]
    marks = mark(places, shows(noun, ground="night"))
    assert marks["background"]
    assert not marks["whole"]


def test_a_prompt_is_one_trial_and_silence_counts(rows: dict[str, Row]) -> None:
    row = rows["my dog max"]
    right = mark(row, Reading("beach", (Thing("dog"),)))
    wrong = mark(row, Reading("beach"))
    answers = [Answer(row, right, False), Answer(row, wrong, True), Answer(row, wrong, False)]
    found = share(answers, "objects")
    assert found is not None
    assert found["value"] == pytest.approx(1 / 3)
    assert found["n"] == 1
    assert share(answers, "count") is None
    everything = table(answers)["all"]
    assert (everything["less"], everything["silent"], everything["pictures"]) == (2, 1, 3)


def read(graphs: list[Graph], font: Path) -> list[Reading]:
    pictures = true_pictures(graphs, 64, str(font))
    assert pictures.dtype == torch.float32
    return Reader(str(font)).read(pictures)
