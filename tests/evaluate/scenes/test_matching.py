"""The bank of sprites: its products are those of the real composites."""

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.data.scenes.backgrounds import BACKGROUNDS
from limner.data.scenes.graph import Graph, Thing
from limner.data.scenes.nouns import nouns
from limner.data.scenes.scene import SINGLE, render
from limner.data.scenes.sprites import COLOURS, sprite
from limner.evaluate.scenes.detection import SceneDetector
from limner.evaluate.scenes.matching import PAINTS, SLOTS


@pytest.mark.parametrize("noun", [0, 57, 130, 201])
def test_repainting_is_affine_in_the_colour(
    detector: SceneDetector, emoji_font: Path, noun: int
) -> None:
    planes = detector.bank.planes[48]
    for paint in ("red", "yellow", "blue"):
        real = sprite(str(emoji_font), nouns()[noun].emoji, paint, "plain", 48)
        goal = torch.tensor(COLOURS[paint])[:, None, None] / 255
        made = (planes.base[noun] + goal * planes.tint[noun]).movedim(0, -1).numpy()
        assert np.abs(made - real[..., :3] / 255).mean() < 0.004
        assert np.abs(planes.alpha[noun].numpy() - real[..., 3] / 255).max() < 0.02


def test_a_gain_is_the_fall_of_the_squared_error(detector: SceneDetector) -> None:
    thing, ground = Thing("car", "blue"), BACKGROUNDS.index("beach")
    pixels = render(Graph((thing,), "beach"), 64)
    picture = torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 255
    gains = detector.bank.gains(picture, torch.tensor([ground]))
    names = [noun.singular for noun in nouns()]
    place = (SLOTS.index(SINGLE["normal"]), names.index("car"), PAINTS.index("blue"))
    bare = float((picture[0] - detector.bank.backgrounds[ground]).square().sum())
    assert float(gains[0][place]) == pytest.approx(bare, rel=0.02)
    assert float(detector.bank.energies[ground][place]) == pytest.approx(bare, rel=0.05)
    assert float(gains[0][place]) == float(gains.max())
