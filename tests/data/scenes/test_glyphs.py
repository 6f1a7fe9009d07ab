"""Emoji of several characters are found in the font itself."""

from pathlib import Path

import numpy as np
import pytest

from limner.data.scenes import sprites
from limner.data.scenes.glyphs import glyph_table
from limner.data.scenes.nouns import nouns
from limner.errors import DataError


def test_flags_and_professions_are_one_picture_each(emoji_font: Path) -> None:
    table = glyph_table(str(emoji_font))
    pictures = [table.picture(each) for each in ("🇯🇵", "🇫🇷", "🧑\u200d🚒", "🏴\u200d☠")]
    assert all(picture is not None and picture.mode == "RGBA" for picture in pictures)
    assert len({picture.tobytes() for picture in pictures if picture}) == 4
    assert table.picture("🐶🐱") is None and table.picture("ab") is None


def test_one_character_is_what_pillow_draws(emoji_font: Path) -> None:
    for emoji in ("🐶", "🦋", "☁"):
        drawn = sprites._glyph(str(emoji_font), emoji)
        assert np.abs(sprites._joined_glyph(str(emoji_font), emoji) - drawn).max() < 1.5 / 255


def test_every_noun_is_drawn_and_no_two_alike(emoji_font: Path) -> None:
    seen: dict[bytes, str] = {}
    for noun in nouns(wide=True):
        picture = sprites._glyph(str(emoji_font), noun.emoji)
        assert (picture[..., 3] > 0.5).mean() > 0.02, noun.singular
        key = picture.tobytes()
        assert key not in seen, (noun.singular, seen.get(key))
        seen[key] = noun.singular


def test_what_is_no_such_font_is_told(tmp_path: Path, emoji_font: Path) -> None:
    broken = tmp_path / "NotoColorEmoji.ttf"
    broken.write_bytes(b"no font at all")
    with pytest.raises(DataError, match="can't be read as a font of coloured pictures"):
        sprites.sprite(str(broken), "🇯🇵", None, "plain", 32)
    broken.write_bytes(emoji_font.read_bytes()[:4000])
    with pytest.raises(DataError, match="can't be read as a font of coloured pictures"):
        sprites.sprite(str(broken), "🇯🇵", None, "plain", 32)
    with pytest.raises(DataError, match="has no picture of"):
        sprites.sprite(str(emoji_font), "🐶🐱", None, "plain", 32)
