"""Looking for a thing with a CLIP that knows one colour."""

from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.errors import UsageError
from limner.finish.find import CELLS, find_object, heat_of


class Red:
    """Finds a picture the nearer to any word, the more of it is red."""

    clip = SimpleNamespace(prepare=lambda picture: picture.resize((64, 64)))

    def encode_images(self, images: Tensor) -> Tensor:
        red = ((images[:, 0] > 0.5) & (images[:, 1] < 0)).float().mean((1, 2))
        return torch.stack([red, 1 - red], dim=1)

    def encode_texts(self, texts: list[str]) -> Tensor:
        return torch.tensor([[1.0, 0.0]] * len(texts))


@pytest.mark.parametrize("size", [(64, 64), (200, 100)])
def test_what_makes_a_picture_fit_a_word_is_found(size: tuple[int, int]) -> None:
    clip: Any = Red()
    picture = Image.new("RGB", size, "blue")
    box = (size[0] // 2, 0, size[0], size[1] // 2)
    picture.paste("red", box)
    heat = heat_of(clip, picture, "thing")
    assert heat.shape == (CELLS, CELLS)
    assert heat[:4, 4:].mean() > 3 * heat[4:, :4].mean()
    mask = find_object(clip, picture, "thing")
    assert mask.size == size and set(numpy.unique(numpy.asarray(mask))) <= {0, 255}
    inside = numpy.asarray(mask.crop(box)).mean() / 255
    assert inside > 0.9 and numpy.asarray(mask).mean() / 255 < 0.6


def test_what_is_nowhere_is_told() -> None:
    clip: Any = Red()
    with pytest.raises(UsageError, match="looks like 'dog' to the CLIP; give a box"):
        find_object(clip, Image.new("RGB", (64, 64), "blue"), "dog")
    with pytest.raises(UsageError, match="the prompt is empty"):
        find_object(clip, Image.new("RGB", (64, 64), "blue"), " ")
