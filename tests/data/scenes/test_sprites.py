"""Sprites: recoloured, restyled, premultiplied; and what is said without the font."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ImageFont

from limner.data.scenes import sprites
from limner.data.scenes.nouns import Noun, nouns
from limner.data.scenes.sprites import COLOURS, EMOJI_STYLE, STYLES, find_font, sprite
from limner.errors import DataError

SAMPLE = [
    noun for noun in nouns() if noun.singular in {"car", "apple", "cat", "frog", "key", "bed"}
]


def drawn(
    font: Path, emoji: str, colour: str | None = None, style: str = "plain"
) -> sprites.Pixels:
    return sprite(str(font), emoji, colour, style, 48)


def test_the_sample_is_there() -> None:
    assert len(SAMPLE) == 6


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("noun", SAMPLE, ids=lambda noun: noun.singular)
def test_a_recoloured_sprite_has_the_colour(noun: Noun, colour: str, emoji_font: Path) -> None:
    natural, painted = drawn(emoji_font, noun.emoji), drawn(emoji_font, noun.emoji, colour)
    assert np.array_equal(natural[..., 3], painted[..., 3])
    changed = (np.abs(natural.astype(int) - painted).max(-1) > 8) & (natural[..., 3] > 250)
    if not changed.any():  # it had this colour already
        changed = natural[..., 3] > 250
    middle = np.median(painted[changed][:, :3], axis=0)
    assert np.abs(middle - np.array(COLOURS[colour])).max() < 48, middle


def on_white(pixels: sprites.Pixels) -> npt.NDArray[np.int64]:
    return pixels[..., :3].astype(np.int64) + 255 - pixels[..., 3:]


def test_every_noun_can_be_painted(emoji_font: Path) -> None:
    for noun in nouns():
        natural = drawn(emoji_font, noun.emoji)
        visible = natural[..., 3] > 0
        assert visible.mean() > 0.1, noun.singular
        for colour in ["red" if noun.colour == "blue" else "blue"]:
            painted = drawn(emoji_font, noun.emoji, colour)
            difference = np.abs(on_white(painted) - on_white(natural)).max(-1)
            moved = (difference > 12)[visible].mean()
            assert moved > 0.25, (noun.singular, colour, moved)


def test_no_two_nouns_look_alike(emoji_font: Path) -> None:
    seen: dict[bytes, str] = {}
    for noun in nouns():
        key = drawn(emoji_font, noun.emoji).tobytes()
        assert key not in seen, (noun.singular, seen.get(key))
        seen[key] = noun.singular


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("side", [16, 32, 48, 64])
def test_sprites_are_premultiplied(style: str, side: int, emoji_font: Path) -> None:
    for noun in nouns()[::12]:
        pixels = sprite(str(emoji_font), noun.emoji, "orange", style, side)
        assert pixels.shape == (side, side, 4) and pixels.dtype == np.uint8
        assert (pixels[..., :3] <= pixels[..., 3:]).all()


def test_styles_look_as_they_are_called(emoji_font: Path) -> None:
    cat = SAMPLE[[noun.singular for noun in SAMPLE].index("cat")].emoji
    plain = drawn(emoji_font, cat)
    sticker = drawn(emoji_font, cat, style="sticker")
    assert (sticker[..., 3] > 128).sum() > (plain[..., 3] > 128).sum()
    rim = (sticker[..., 3] > 250) & (plain[..., 3] == 0)
    assert rim.any() and (sticker[rim][:, :3] > 245).all()
    dark = drawn(emoji_font, cat, style="silhouette")
    assert (dark[dark[..., 3] > 250][:, :3].max(-1) < 45).all()
    lines = drawn(emoji_font, cat, style="line art").astype(int)
    assert np.ptp(lines[..., :3], axis=-1).max() <= 1  # gray
    pixel = drawn(emoji_font, cat, style="pixel art")
    hard = (pixel[..., 3] < 8) | (pixel[..., 3] > 247)
    assert hard.mean() > 0.75


def test_recolour_keeps_alpha_and_shading() -> None:
    picture = np.zeros((8, 8, 4), np.float32)
    picture[..., 3] = np.linspace(0, 1, 64).reshape(8, 8)
    picture[..., 0] = np.linspace(0.4, 1, 8)[None]
    painted = sprites._paint(sprites._shading(picture), COLOURS["blue"])
    assert np.array_equal(painted[..., 3], picture[..., 3])
    light = painted[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    assert (np.diff(light, axis=1) > 0).all()
    assert (painted[..., 2] > painted[..., 0]).all()


def test_recolour_leaves_another_hue_alone() -> None:
    picture = np.ones((10, 10, 4), np.float32)
    picture[:8, :, :3] = (0.9, 0.1, 0.1)
    picture[8:, :, :3] = (0.1, 0.8, 0.1)
    painted = sprites._paint(sprites._shading(picture), COLOURS["purple"])
    assert np.allclose(painted[8:], picture[8:])
    assert np.allclose(painted[:8, :, :3] * 255, COLOURS["purple"], atol=2)


def test_a_missing_font_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMNER_FONT", raising=False)
    monkeypatch.setattr(sprites, "FONT_PLACES", ("/nowhere/NotoColorEmoji.ttf",))
    with pytest.raises(DataError, match=r"fonts-noto-color-emoji, or give --font PATH"):
        find_font()


def test_a_wrong_font_path_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no emoji font at /nowhere/font\.ttf"):
        find_font("/nowhere/font.ttf")
    monkeypatch.setenv("LIMNER_FONT", str(tmp_path))
    with pytest.raises(DataError, match="no emoji font at"):
        find_font()


def test_the_environment_and_the_argument_are_heeded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.ttf", tmp_path / "two.ttf"
    one.touch()
    two.touch()
    monkeypatch.setenv("LIMNER_FONT", str(one))
    assert find_font() == str(one)
    assert find_font(two) == str(two)


def test_a_file_that_is_no_font_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"not a font")
    with pytest.raises(DataError, match="can't be opened as an emoji font"):
        sprite(str(path), "🐱", None, "plain", 32)


def test_a_glyph_does_not_hang_on_what_shapes_text(
    emoji_font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    font, selected = str(emoji_font), [each for each in nouns() if len(each.emoji) > 1]
    assert selected and {each.emoji[1:] for each in nouns()} == {"", EMOJI_STYLE}
    shaped = [sprites._glyph(font, each.emoji) for each in selected]
    sprites._glyph.cache_clear()
    monkeypatch.setattr(ImageFont.core, "HAVE_RAQM", False)
    plain = [sprites._glyph(font, each.emoji) for each in selected]
    alone = [sprites._glyph(font, each.emoji[0]) for each in selected]
    sprites._glyph.cache_clear()
    for three in zip(shaped, plain, alone, strict=True):
        assert np.array_equal(three[0], three[1]) and np.array_equal(three[1], three[2])
