"""Classes: a text names one, by a name or a number, or is told that it names none."""

import json

import pytest

from limner.errors import CheckpointError, UsageError
from limner.text.classes import ClassTokenizer, names_of
from limner.text.pretrained_tokenizer import tokenizer_from_json

LABELS = [
    "tench, Tinca tinca", "goldfish", "golden retriever", "crane", "Eskimo dog, husky", "crane",
    "bald eagle, American eagle", "eagle", "jack-o'-lantern", "strawberry",
]  # fmt: skip
TOKENIZER = ClassTokenizer(names_of(LABELS, "it"))


@pytest.mark.parametrize(
    ("text", "number", "unread"),
    [
        ("a photo of a Golden Retriever on the beach", 2, ["beach"]),
        ("tinca tinca", 0, []),
        ("two huskies, please", 4, ["two"]),
        ("a bald eagle and an eagle", 6, ["eagle"]),  # the first, and there the longest name
        ("jack-o'-lanterns", 8, []),
        ("class 3", 3, []),
        ("a purple Class #5", 5, ["purple"]),
        (" 9 ", 9, []),
    ],
)
def test_a_text_is_the_class_that_it_names(text: str, number: int, unread: list[str]) -> None:
    assert TOKENIZER.encode(text) == [number + 1]
    assert TOKENIZER.unseen_words(text) == unread
    assert TOKENIZER.batch([text], 1).tolist() == [[number + 1]]
    assert not TOKENIZER.is_truncated(text, 1)


def test_no_text_is_no_class() -> None:
    assert TOKENIZER.batch(["", "  "], 1).tolist() == [[0], [0]]
    assert TOKENIZER.decode([0, 3, 1]) == "golden retriever, tench"
    assert ClassTokenizer([(), ()]).decode([2]) == "class 1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a dog", "none of the 10 classes .*; near are 'eskimo dog'; name one"),
        ("a retreiver", "near are 'golden retriever'"),
        ("一只猫", "none of the 10 classes that this model draws; name one, or write its number"),
        ("x" * 5000, "none of the 10 classes"),
        ("cranes", "'cranes' is the name of several classes; .* as 'class 3' or 'class 5'"),
        ("class 10", "there is no class 10; this model draws the classes 0 to 9"),
        ("class 999999999", "there is no class 999999999"),
    ],
)
def test_what_names_no_class_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        TOKENIZER.encode(text)
    assert caught.value.param == "prompt" and len(str(caught.value)) <= 400


def test_classes_without_names_are_known_by_number_alone() -> None:
    numbered = ClassTokenizer([()] * 3)
    assert numbered.vocabulary == 4 and numbered.encode("class 2") == [3]
    with pytest.raises(
        UsageError, match="its 3 classes by number alone; in place of 'a dog' write"
    ):
        numbered.encode("a dog")


def test_it_is_saved_and_read() -> None:
    text = TOKENIZER.to_json()
    again = tokenizer_from_json(text)
    assert isinstance(again, ClassTokenizer) and again.to_json() == text
    assert again.classes == TOKENIZER.classes


@pytest.mark.parametrize("classes", [[["a", 3]], ["a"], {"a": 1}, 3, [[]] * 100_001])
def test_another_table_of_classes_is_refused(classes: object) -> None:
    with pytest.raises(CheckpointError):
        tokenizer_from_json(json.dumps({"limner": {"classes": classes}}))
    with pytest.raises(CheckpointError, match="expected 1 to 100000"):
        ClassTokenizer.from_json("{}")


def test_labels_are_names_with_commas_between() -> None:
    assert names_of(["a b,  c,", ""], "it") == [("a b", "c"), ()]
    with pytest.raises(CheckpointError, match="it has a label 3"):
        names_of([3], "it")
