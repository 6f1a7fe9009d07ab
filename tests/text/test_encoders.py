"""Text encoders: features of real tokens do not depend on padding, and every mistake is told."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.text.encoders import create_text_encoder

CONFIG: dict[str, Any] = {"name": "own", "vocabulary": 50, "width": 16, "heads": 2, "hidden": 16}


@pytest.mark.parametrize("layers", [0, 2])
def test_ids_become_features_of_the_width(layers: int) -> None:
    encoder = create_text_encoder(CONFIG | {"layers": layers})
    assert encoder(torch.randint(1, 50, (3, 5))).shape == (3, 5, encoder.width)


def test_without_layers_a_token_does_not_see_its_neighbours() -> None:
    encoder = create_text_encoder(CONFIG)
    ids = torch.randint(1, 50, (1, 5))
    assert torch.equal(encoder(ids)[:, 2], encoder(ids[:, 2:3])[:, 0])


def test_with_layers_every_token_sees_every_other() -> None:
    torch.manual_seed(0)
    encoder = create_text_encoder(CONFIG | {"layers": 1})
    ids = torch.randint(1, 50, (1, 5))
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % 49 + 1
    assert not torch.allclose(encoder(ids)[:, 0], encoder(other)[:, 0])


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    encoder = create_text_encoder(CONFIG | {"layers": 2})
    ids = torch.randint(1, 50, (2, 5))
    torch.testing.assert_close(encoder(F.pad(ids, (3, 0)))[:, 3:], encoder(ids))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "bret"}, "unknown text encoder 'bret'"),
        ({"vocabulary": 0}, "vocabulary is 0; expected at least 1"),
        ({"layers": -1}, "layers is -1; expected at least 0"),
        ({"widht": 3}, "no setting 'widht'; did you mean 'width'"),
    ],
)
def test_a_mistake_is_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        create_text_encoder(CONFIG | changes)
