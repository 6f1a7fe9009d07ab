"""Captions as bytes and cells: which are read, and what the refusal of the others says."""

from typing import Any

import pytest

from limner.data.scenes.captions import COLOURS_ZH
from limner.data.sources.caption_text import (
    captions_of,
    check_captions,
    colour_words,
    decode_caption_file,
    first_text,
    is_caption,
    is_picture,
    looks_like_caption,
    mentions_colours,
    mentions_sides,
    twice,
)
from limner.errors import DataError


class Told(dict[str, list[str]]):
    def __call__(self, kind: str, name: str) -> None:
        self.setdefault(kind, []).append(name)


@pytest.mark.parametrize("text", ["一只猫", "一只只猫 cat", "两猫一只"])
def test_gbk_is_named_whether_or_not_it_is_utf_8_by_chance(text: str) -> None:
    data = text.encode("gbk")
    with pytest.raises(DataError, match=r"seems to be GBK.*save it as UTF-8"):
        decode_caption_file(data)


@pytest.mark.parametrize(
    "text",
    [
        *("α-helix naïve", "¿Qué es été?", "кот и кошка", "résumé/кот", "µm Übung", "nº1 é"),
        *("שָׁלוֹם", "مرحبا", "Ωμέγα naïve", "一只猫", "е́лка", "sehr schön", "Ø20°é"),
    ],
)
def test_words_of_any_language_are_no_gbk(text: str) -> None:
    assert decode_caption_file(text.encode()) == (text,)


def test_utf_16_is_named() -> None:
    with pytest.raises(DataError, match="offset 0 and seems to be UTF-16"):
        decode_caption_file("苹果".encode("utf-16"))
    with pytest.raises(DataError, match=r"offset 3$"):
        decode_caption_file(b"caf\xe9")


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "null", "N/A", "<NA>"])
def test_words_for_an_empty_cell_are_no_captions(word: str) -> None:
    with pytest.raises(DataError, match=f"the caption is '{word}', which programs write") as caught:
        check_captions([word, " "])
    assert caught.value.code == "no_caption"
    assert check_captions([word, "a cat"]) == ("a cat",)
    assert check_captions(["nan bread", "None of them"]) == ("nan bread", "None of them")


def test_boxes_of_a_detector_are_no_captions() -> None:
    with pytest.raises(DataError, match="boxes of a detector"):
        decode_caption_file(b"0 0.5 0.5 0.25 0.125\n3 0.1 0.2 0.3 0.4\n")
    assert decode_caption_file(b"7\n2024\n") == ("7", "2024")


@pytest.mark.parametrize(
    ("row", "captions", "told"),
    [
        ({"caption": "a", "caption_id": "48000", "caption_source": "blip"}, ("a",), 2),
        ({"caption": "a", "caption_len": 5}, ("a",), 1),
        ({"caption": "a", "text": 5}, ("a",), 1),
        ({"caption": ["a", 7], "text_zh": "b"}, ("b",), 1),
        ({"Caption": "a", "text": float("nan"), "text_zh": None}, ("a",), 0),
    ],
)
def test_a_column_is_spoilt_and_not_the_sample(
    row: dict[str, Any], captions: tuple[str, ...], told: int
) -> None:
    found = Told()
    assert captions_of(row, found) == captions
    assert sum(map(len, found.values())) == told


def test_one_of_several_caption_files_is_read_and_the_others_told() -> None:
    found = Told()
    assert first_text(["a.caption", "a.TXT", "a.text"], found) == "a.TXT"
    assert list(found.values()) == [["a.caption", "a.text"]]
    with pytest.raises(DataError, match=r"2 caption files; keep one of 'e.txt', 'e.TXT'"):
        first_text(["e.txt", "e.TXT"], found)


@pytest.mark.parametrize(
    "name",
    [
        *("text", "caption", "captions", "Texts", " Caption ", "text_zh", "caption_en"),
        *("TEXT_ZH_CN", "text-zh-hans", "caption_eng", "captions_pt_br", "text_english"),
    ],
)
def test_captions_by_exact_names_and_languages(name: str) -> None:
    assert is_caption(name) and not looks_like_caption(name)


@pytest.mark.parametrize(
    "name",
    [
        *("caption_id", "caption_source", "caption_similarity", "caption_len", "text_length"),
        *("text_no", "caption_en_len", "text1", "blip_caption", "label", "Title", "prompt"),
    ],
)
def test_what_only_looks_like_a_caption_is_told(name: str) -> None:
    assert looks_like_caption(name) and not is_caption(name)


@pytest.mark.parametrize("name", ["texture", "context", "captioned", "width", "url", "file_name"])
def test_other_columns_are_nobodys_concern(name: str) -> None:
    assert not looks_like_caption(name) and not is_caption(name)


def test_columns_of_one_name() -> None:
    assert is_picture("File_Name ") and not is_picture("picture")
    assert twice(["file_name", "text", "Text "]) == "text"
    assert twice(["file_name", "text", "width", "width"]) is None


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("a cat to the left of a dog", True),
        ("the RIGHTMOST door", True),
        ("a left-handed guitar", True),
        ("a wheel turning counterclockwise", True),
        ("一只猫在狗的左边", True),
        ("右侧的門", True),
        ("a leftover pie", False),
        ("a bright day", False),
        ("an upright piano", False),
        ("一只猫", False),
        ("桌上的东西", False),  # a thing, not east and west
        ("东边的房子", True),
    ],
)
def test_captions_that_tell_sides(caption: str, told: bool) -> None:
    assert mentions_sides(["a picture", caption]) is told


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("a red apple", True),
        ("Reddish leaves", True),
        ("a golden ring", True),
        ("grey sky", True),
        ("一个红苹果", True),
        ("灰色的天空", True),
        ("a bored cat", False),
        ("a tanned man on a greenhouse roof", False),
        ("一只猫", False),
    ],
)
def test_captions_that_tell_colours(caption: str, told: bool) -> None:
    assert mentions_colours([caption]) is told


def test_every_colour_of_the_scenes_is_known() -> None:
    for english, chinese in COLOURS_ZH.items():
        assert mentions_colours([f"a {english} cat"]) and mentions_colours([f"一只{chinese}猫"])


def test_colours_are_told_by_their_words() -> None:
    assert colour_words(["a Red cup", "a red cup on grey"]) == {"red": 2, "grey": 1}
    assert colour_words(["一只红色的杯子"])["红"] == 1
    assert not colour_words(["a cup"])
