"""Styles as functions of a plain drawing are those of the scenes' sprites."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.data.scenes import sprites
from limner.nn.styles import STYLES, restyle

# Mean difference of channels in [0, 1] from the sprite that Pillow makes, which filters otherwise.
NEAR = {"plain": 0.0, "sticker": 0.02, "pixel art": 0.03, "silhouette": 0.01, "line art": 0.03}


def drawing(font: Path, emoji: str, style: str) -> Tensor:
    pixels = sprites.sprite(str(font), emoji, None, style, 96)
    return torch.from_numpy(pixels.copy()).movedim(-1, 0)[None].float() / 255


def test_they_are_the_styles_of_scenes() -> None:
    assert STYLES == sprites.STYLES


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("emoji", ["🐶", "🥪", "🗼"])
def test_a_plain_drawing_becomes_the_styled_sprite(
    emoji: str, style: str, emoji_font: Path
) -> None:
    plain, wanted = (drawing(emoji_font, emoji, each) for each in ("plain", style))
    found = restyle(plain, style)
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().mean()) <= NEAR[style]
    if style != "plain":  # nearer than what it was made of, by far
        assert (found - wanted).abs().mean() < 0.5 * (plain - wanted).abs().mean()


@pytest.mark.parametrize("style", STYLES)
def test_a_drawing_stays_one(style: str) -> None:
    """Its colours are times alpha, all in [0, 1], and where nothing is drawn nothing appears."""
    torch.manual_seed(0)
    alpha = torch.rand(2, 1, 48, 48).round()
    drawings = torch.cat((torch.rand(2, 3, 48, 48) * alpha, alpha), dim=1)
    drawings[0] = 0
    found = restyle(drawings, style)
    colours, alpha = found.split((3, 1), dim=1)
    assert found.min() >= 0 and found.max() <= 1
    assert (colours <= alpha + 1e-6).all()
    assert not found[0].any()
