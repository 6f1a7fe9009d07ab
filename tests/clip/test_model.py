"""CLIP's two towers: unit vectors, every image and text encoder, the learned scale."""

import math
from typing import Any

import pytest
import torch

from limner.clip.losses import SCALE_LIMIT
from limner.clip.model import ClipConfig, create_clip
from limner.clip.towers import IMAGE_ENCODERS
from limner.errors import ConfigError
from limner.types import ClipModel
from tests.tiny_clip import CLIP, RESNET, VIT
from tests.tiny_vision import ENCODERS

TOWERS = {"vit": VIT, "resnet": RESNET, **ENCODERS}
TEXTS = torch.tensor([[0, 0, 5, 6], [1, 2, 3, 4], [0, 0, 0, 0]])


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return create_clip({**CLIP, "text_vocabulary": 20, **changes}).eval()


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_both_towers_give_unit_vectors(name: str, pooling: str) -> None:
    clip = build(image_encoder=TOWERS[name], pooling=pooling)
    images, texts = clip.encode_images(torch.randn(2, 3, 16, 16)), clip.encode_texts(TEXTS)
    for vectors, count in ((images, 2), (texts, 3)):
        assert vectors.shape == (count, 8) and vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(count))


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_padding_changes_nothing(pooling: str) -> None:
    clip = build(pooling=pooling)
    longer = torch.nn.functional.pad(TEXTS[:2], (3, 0))
    torch.testing.assert_close(clip.encode_texts(longer), clip.encode_texts(TEXTS[:2]))


def test_the_scale_begins_as_in_the_papers_and_has_a_limit() -> None:
    contrastive, sigmoid = build(), build(loss="sigmoid")
    assert contrastive.scale.item() == pytest.approx(1 / 0.07)
    assert contrastive.bias is None
    assert (sigmoid.scale.item(), sigmoid.bias.item()) == (pytest.approx(10), -10)
    contrastive.log_scale.data.fill_(9.0)
    contrastive.limit_scale()
    assert (
        contrastive.log_scale.item() == pytest.approx(SCALE_LIMIT) == pytest.approx(math.log(100))
    )


@pytest.mark.parametrize("loss", ["contrastive", "sigmoid"])
def test_every_weight_learns(loss: str) -> None:
    clip = build(loss=loss).train()
    vectors = clip.encode_texts(TEXTS[:2])
    clip.loss(clip.encode_images(torch.randn(2, 3, 16, 16)), vectors, vectors).backward()
    lazy = [name for name, weight in clip.named_parameters() if weight.grad is None]
    assert lazy == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 20}, "width is 20 for 2 heads; expected a multiple of 4 x heads, as 24"),
        ({"pooling": "max"}, "pooling is 'max'; expected mean or last"),
        ({"loss": "sigmod"}, "loss is 'sigmod'; expected .*; did you mean 'sigmoid'"),
        ({"dimensions": 0}, "dimensions is 0; expected at least 1"),
        ({"image_encoder": {"name": "vitt"}}, "unknown image encoder 'vitt'; did you mean 'vit'"),
        ({"image_encoder": VIT | {"depth": 3}}, "image encoder 'vit' has no setting 'depth'"),
        ({"text_encoder": {"name": "own", "layer": 3}}, "has no setting 'layer'"),
        ({"heads": 3}, "clip 'clip' has no setting 'heads'"),
    ],
)
def test_mistakes_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(**changes)


def test_a_config_of_defaults_can_be_built() -> None:
    with torch.device("meta"):
        clip = create_clip({"text_vocabulary": 300})
    assert clip.config == ClipConfig(300) and clip.size == 64
    assert isinstance(clip, ClipModel)
