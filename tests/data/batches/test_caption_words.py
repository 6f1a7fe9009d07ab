"""Words that hang on how a picture is shown: sides and colours, English and Chinese."""

import pytest

from limner.data.batches.caption_words import colour_words, mentions_colours, mentions_sides
from limner.data.scenes.captions import COLOURS_ZH


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
