"""Which columns hold captions, by their names."""

import pytest

from limner.data.sources.columns import is_caption, is_picture, looks_like_caption, twice


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
