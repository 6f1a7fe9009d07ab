"""More words for a tokenizer: old ids and whole words stay, new words become whole."""

from limner.text.merging import apply_merges, extend_model, merged
from limner.text.tokenizer import Tokenizer

OLD = ["three red apples under the night sky", "夜空下的三个红苹果"] * 9
NEW = ["a firefighter and a raccoon", "消防员和浣熊", "jack-o'-lanterns"]


def test_new_words_become_whole_and_old_ones_stay_as_they_were() -> None:
    first = Tokenizer.train(OLD, 600)
    wide = first.extended(NEW)
    assert wide.vocabulary > first.vocabulary
    for text in OLD:
        assert wide.encode(text) == first.encode(text)
    for text in NEW:
        assert first.unseen_words(text) and not wide.unseen_words(text), text
        assert wide.decode(wide.encode(text)) == first.decode(first.encode(text))
    again = Tokenizer.from_json(wide.to_json())
    assert again.encode(NEW[0]) == wide.encode(NEW[0])
    assert wide.extended(OLD + NEW).vocabulary == wide.vocabulary
    assert first.with_keywords().extended(NEW).keywords


def test_merges_are_tried_in_their_order() -> None:
    ranks = {("a", "b"): 1, ("b", "c"): 0}
    assert apply_merges(list("abc"), ranks) == ["a", "bc"]
    assert merged(list("abab"), ("a", "b")) == ["ab", "ab"]
    assert merged(list("aaa"), ("a", "a")) == ["aa", "a"]


def test_the_pair_that_most_words_have_is_merged_first() -> None:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": [["a", "b"]]}
    found = extend_model(model, {"abc": 1, "bcd": 5, "ab": 9})
    assert found["vocab"]["d"] == 3 and found["type"] == "BPE"
    assert found["merges"] == [["a", "b"], ["b", "c"], ["bc", "d"], ["ab", "c"]]
    assert list(found["vocab"].values()) == list(range(len(found["vocab"])))
