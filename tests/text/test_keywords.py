"""Keywords: stop words go, order stays, and every script survives."""

import logging
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import MissingExtraError
from limner.text import keywords
from limner.text.keywords import STOP_WORDS, keep_keywords, split_words
from limner.text.tokenizer import Tokenizer
from tests.tiny_model import SENTENCES


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a picture of Three Red apples on the beach", "Three Red apples beach"),
        ("a cat to the left of a dog", "cat left dog"),
        ("夜空下的三个红苹果", "夜空 下 三个 红 苹果"),
        ("沙滩上有一只 black 狗", "沙滩 上 一只 black 狗"),
        ("l'été, “x-ray”! it’s 🎄👨‍👩‍👧", "l'été x-ray it’s 🎄👨‍👩‍👧"),
        ("ไก่ 한국어 𠮷", "ไก่ 한국어 𠮷"),
        ("the", "the"),
        ("！", "！"),
        ("", ""),
    ],
)
def test_stop_words_and_punctuation_go(text: str, kept: str) -> None:
    assert keep_keywords(text) == kept


@settings(deadline=None)
@given(st.lists(st.sampled_from(["cat", "the", "of", "red", "left", "苹果", "的"]), min_size=1))
def test_what_is_kept_keeps_its_order(words: list[str]) -> None:
    wanted = [word for word in words if word not in STOP_WORDS]
    assert keep_keywords(" ".join(words)) == " ".join(wanted or words)


@settings(deadline=None)  # the first Chinese text loads the dictionary
@given(st.text(max_size=40))
def test_no_character_is_made_up(text: str) -> None:
    rest = iter(text)
    assert all(character in rest for word in split_words(text) for character in word)


def test_what_says_where_and_how_many_stays() -> None:
    where = "above below left right under in behind beside between two three 上 下 左边 右边 三个"
    assert not STOP_WORDS & set(where.split())


def test_jieba_writes_nothing_and_logs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logging.getLogger("jieba").handlers.clear()
    keywords._segmenter.cache_clear()
    assert split_words("红苹果在桌子上") == ["红", "苹果", "在", "桌子", "上"]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_without_jieba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    keywords._segmenter.cache_clear()
    monkeypatch.setitem(sys.modules, "jieba", None)
    assert keep_keywords("the red apple") == "red apple"
    with pytest.raises(MissingExtraError, match=r"pip install 'limner\[text\]'"):
        keep_keywords("红苹果")
    keywords._segmenter.cache_clear()


def test_a_tokenizer_with_keywords_says_so_in_its_file(tmp_path: Path) -> None:
    plain = Tokenizer.train(SENTENCES, 400)
    reduced = plain.with_keywords()
    assert reduced.encode("a red apple under the night sky") == plain.encode(
        "red apple under night sky"
    )
    assert not plain.keywords and plain.vocabulary == reduced.vocabulary
    reduced.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.keywords and loaded.to_json() == reduced.to_json() != plain.to_json()
    assert loaded.unseen_words("the zebra") == ["zebra"]
