"""The table of words of a model: counted, saved, read strictly."""

import json
from dataclasses import replace

import pytest

from limner import registry
from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.nouns import nouns
from limner.data.scenes.words import scene_words
from limner.errors import CheckpointError
from limner.text.words import Accuracy, Words, count_words, read_words


def test_a_word_counts_once_a_caption() -> None:
    words = count_words(["a red red cat", "A cat!", "一只猫"])
    assert words.captions == 3
    assert words.counts == {"a": 2, "red": 1, "cat": 2, "一": 1, "只": 1, "猫": 1}
    assert list(words)[:2] == ["a", "cat"] and words.search("CA") == ["cat"]
    assert "dog" not in words and words.times("cat") == 2


def test_a_table_is_read_as_it_was_written() -> None:
    words = scene_words(4, count=200)
    again = read_words(json.loads(words.to_json()), "words.json")
    assert again.to_json() == words.to_json() and again.counts == words.counts
    assert words.grammar is not None and again.grammar is not None
    assert again.grammar.order == words.grammar.order
    plain = count_words(["a cat"])
    assert read_words(json.loads(plain.to_json()), "words.json").to_json() == plain.to_json()


@pytest.mark.parametrize(
    "broken",
    [
        {},
        [],
        {"limner_words": 1},
        {"limner_words": 1, "captions": 1, "counts": []},
        {"limner_words": 1, "captions": "x", "counts": {}},
        {"limner_words": 1, "captions": 1, "counts": {}, "grammar": {"phrases": []}},
        {"limner_words": 1, "captions": 1, "counts": {}, "grammar": {
            "phrases": [["verb", "go", "en", "go", 1]],
            "classifiers": {}, "uncounted": [], "order": [],
        }},
    ],
)  # fmt: skip
def test_another_table_is_refused(broken: object) -> None:
    with pytest.raises(CheckpointError, match=r"words\.json is not a table of words"):
        read_words(broken, "words.json")


def test_a_newer_table_is_told() -> None:
    with pytest.raises(CheckpointError, match=r"made by a newer limner \(2 > 1\)"):
        read_words({"limner_words": 2}, "words.json")


def test_accuracy_is_kept_and_found_by_thing_and_number() -> None:
    measured = Accuracy((24, 12), {"cat": (24, 3)})
    words = replace(scene_words(4, count=300), accuracy=measured).with_taught(["sks"])
    assert words.accuracy == measured
    table = json.loads(words.to_json())
    assert read_words(table, "words.json").accuracy == measured
    assert measured.of("cat") == (24, 24) and measured.of("cat", 2) == (3, 12)
    assert measured.of("cat", 3) is None and measured.of("dog") is None
    table["accuracy"]["right"]["cat"] = [24]
    with pytest.raises(CheckpointError, match="not a table of words"):
        read_words(table, "words.json")


def test_older_captions_and_taught_words_are_known_too() -> None:
    older = scene_words(4, count=200)
    both = count_words(["a stamp"]).with_older(older)
    assert both.grammar is None and "stamp" in both and "dog" in both
    assert both.captions == 1 + older.captions
    taught = Words(1, {"cat": 1}).with_taught(["sks dog"])
    assert "sks" in taught and "dog" in taught and len(taught) == 1
    assert read_words(json.loads(taught.to_json()), "w").taught == ()


def test_scenes_are_listed_by_kind_in_both_languages() -> None:
    kinds = registry.words_of("default").by_kind()
    assert "apple 苹果" in kinds["things"] and len(kinds["things"]) == len(nouns(wide=True))
    assert len(kinds["places"]) == len(backgrounds(wide=True))
    assert "red 红色的" in kinds["colours"] and "to the left of 左边" in kinds["relations"]
    assert count_words(["a cat"]).by_kind() == {"words": ["a", "cat"]}
