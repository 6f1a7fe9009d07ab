"""The prompts of strangers name what the table of nouns knows, and true scenes are all right."""

import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from benchmarks.strangers import TABLE, Answer, Row, mark, read_rows, share, table
from benchmarks.strangers_make import misspell, write
from limner.data.batches.batches import true_pictures
from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.graph import Graph, Thing
from limner.data.scenes.nouns import noun_index
from limner.data.scenes.sprites import COLOURS
from limner.evaluate.scenes.detection import Detections, SceneDetector

FIRST = TABLE.with_name("strangers_first.tsv")


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.prompt: row for path in (TABLE, FIRST) for row in read_rows(path)}


@pytest.mark.parametrize("path", [TABLE, FIRST], ids=lambda path: path.stem)
def test_a_table_is_well_formed(path: Path) -> None:
    rows = {row.prompt: row for row in read_rows(path)}
    assert len(rows) == len(read_rows(path)) == 300
    kinds = Counter(row.kind for row in rows.values())
    assert kinds == Counter(row.kind for row in read_rows())
    assert kinds["free"] == 60
    assert 90 <= sum(row.language == "zh" for row in rows.values()) <= 110
    for row in rows.values():
        named = frozenset[str]().union(*row.objects) | row.without
        assert row.language in ("en", "zh"), row
        assert named <= set(noun_index()), row
        assert frozenset[str]().union(*row.colours) <= set(COLOURS), row
        assert row.backgrounds <= set(backgrounds(wide=True)), row
        assert all(count in ("", "many") or int(count) > 1 for count in row.counts), row
        assert len(row.counts) <= len(row.objects), row
        assert not any(row.colours) or len(row.colours) <= len(row.objects), row


def test_no_prompt_is_in_both_tables() -> None:
    assert not {row.prompt.lower() for row in read_rows()} & {
        row.prompt.lower() for row in read_rows(FIRST)
    }


def test_the_script_writes_the_table_that_is_there(tmp_path: Path) -> None:
    write(tmp_path / "table.tsv")
    assert read_rows(tmp_path / "table.tsv") == read_rows()


def test_a_misspelt_name_is_no_noun() -> None:
    rng = random.Random(0)
    names = [name for name in noun_index() if name.isalpha() and len(name) > 3]
    for name in names:
        found = misspell(name, rng)
        assert found[0] in name[:2]
        assert found not in noun_index()
        assert abs(len(found) - len(name)) <= 1


def test_true_pictures_of_what_was_asked_are_right(rows: dict[str, Row], emoji_font: Path) -> None:
    asked = {
        "3 peaches": Graph((Thing("peach", count=3),), "plain:blue"),
        "a red bubble tea and a blue island": Graph(
            (Thing("bubble tea", "red"), Thing("island", "blue")), "meadow", "left"
        ),
        "a gold car on the beach": Graph((Thing("car", "yellow"),), "beach"),
        "the beach": Graph((Thing("dog"),), "beach"),
        "minimalist poster, single red balloon, white background --no text": Graph(
            (Thing("balloon", "red"),), "plain:white"
        ),
        "绿色的恐龙和紫色的篮球": Graph(
            (Thing("dinosaur", "green"), Thing("basketball", "purple")), "beach", "above"
        ),
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
    def shows(*nouns: str, ground: str = "beach") -> Detections:
        return Detections(ground, tuple(map(Thing, nouns)))

    row = next(row for row in rows.values() if " without " in row.prompt)
    (noun,), (other,) = row.objects[0], row.without
    assert mark(row, shows(noun))["whole"]
    assert not mark(row, shows(noun, other))["whole"]
    ten = rows["10 rabbits"]
    assert ten.beyond
    assert not mark(ten, Detections("beach", (Thing("rabbit", count=5),)))["whole"]
    wolf = rows["three little pigs and the big bad wolf"]
    assert wolf.counts == ("3", "")
    shown = Detections("beach", (Thing("pig", count=3), Thing("wolf")))
    assert mark(wolf, shown)["count"]
    assert not mark(wolf, shown)["whole"]
    places = next(row for row in rows.values() if row.prompt.endswith("at the beach at night"))
    (noun,) = places.objects[0]
    for ground in ("night", "beach at night"):
        marks = mark(places, shows(noun, ground=ground))
        assert marks["background"]
        assert not marks["whole"]
    assert not mark(places, shows(noun, ground="snow at night"))["background"]


def test_a_prompt_is_one_trial_and_silence_counts(rows: dict[str, Row]) -> None:
    row = rows["my dog max"]
    right = mark(row, Detections("beach", (Thing("dog"),)))
    wrong = mark(row, Detections("beach"))
    answers = [Answer(row, right, False), Answer(row, wrong, True), Answer(row, wrong, False)]
    found = share(answers, "objects")
    assert found is not None
    assert found["value"] == pytest.approx(1 / 3)
    assert found["n"] == 1
    assert share(answers, "count") is None
    everything = table(answers)["all"]
    assert (everything["less"], everything["silent"], everything["pictures"]) == (2, 1, 3)


def read(graphs: list[Graph], font: Path) -> list[Detections]:
    pictures = true_pictures(graphs, 64, str(font))
    assert pictures.dtype == torch.float32
    return SceneDetector(str(font)).detect(pictures)
