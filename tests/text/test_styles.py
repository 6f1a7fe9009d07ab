"""Styles in people's words, in English and Chinese."""

import pytest

from limner.errors import UsageError
from limner.nn.styles import STYLES
from limner.text.styles import read_style, styles


def test_the_styles_that_have_words_are_those_that_are_drawn() -> None:
    assert set(styles()) == set(STYLES)


@pytest.mark.parametrize(
    ("said", "style"),
    [
        ("as line art", "line art"),
        ("Line-Art", "line art"),
        ("lineart", "line art"),
        ("in the style of a line drawing", "line art"),
        ("a sketch", "line art"),
        ("线稿", "line art"),
        ("变成线稿", "line art"),
        ("in pixel art style", "pixel art"),
        ("pixelart", "pixel art"),
        ("8-bit", "pixel art"),
        ("像素风", "pixel art"),
        ("换成像素风格", "pixel art"),
        ("sticker", "sticker"),
        ("stickers", "sticker"),
        ("as a sticker", "sticker"),
        ("贴纸", "sticker"),
        ("貼紙", "sticker"),
        ("a silhouette", "silhouette"),
        ("silhoutte", "silhouette"),
        ("剪影", "silhouette"),
        ("plain", "plain"),
        ("普通", "plain"),
    ],
)
def test_what_people_say_is_understood(said: str, style: str) -> None:
    assert read_style(said) == style


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("flat", "; did you mean 'line art'?"),
        ("3D", "line art"),
        ("in 3D style", "line art"),
        ("line art sticker", "; did you mean 'line art' or 'sticker'?"),
        ("黑色剪影", "; did you mean '剪影'?"),
        ("", "line art"),
        (" \n", "line art"),
        ("x" * 10_000, "line art"),
        (3, "line art"),
        (None, "line art"),
    ],
)
def test_what_is_not_known_is_told_with_all_that_is(said: object, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_style(said)
    names = "expected one of plain, sticker, pixel art, silhouette, line art"
    assert names in str(caught.value) and str(caught.value).endswith(hint)
    assert caught.value.param == "style"
