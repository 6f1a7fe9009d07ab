"""Text encoders: features of real tokens do not depend on padding, and every mistake is told."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.text.encoders import check_text_encoder, create_text_encoder, text_encoder_of

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


@dataclass(frozen=True)
class PriorSizes:
    """What a prior's config says of text."""

    text_vocabulary: int = 50
    width: int = 16
    text_encoder: dict[str, Any] = field(default_factory=dict)


def test_a_prior_decides_vocabulary_and_width() -> None:
    plain = text_encoder_of(PriorSizes())
    assert (plain.num_embeddings, plain.width, plain.transformer) == (50, 16, None)
    own = {"layers": 1, "heads": 2, "hidden": 16}
    assert text_encoder_of(PriorSizes(), own).transformer is not None
    mixed = text_encoder_of(PriorSizes(text_encoder=own | {"layers": 0}), own)
    assert mixed.transformer is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"width": 16}, r"text_encoder\.width is the prior's own"),
        ({"vocabulary": 50}, r"text_encoder\.vocabulary is the prior's own"),
        ({"name": "bret"}, "unknown text encoder 'bret'; did you mean 'bert'"),
        ({"layers": -1}, "layers is -1"),
        ({"name": "gpt2"}, "sizes"),
    ],
)
def test_a_priors_mistake_is_told_without_building(settings: dict[str, Any], words: str) -> None:
    for check in (check_text_encoder, text_encoder_of):
        with pytest.raises(ConfigError, match=words):
            check(PriorSizes(text_encoder=settings))
