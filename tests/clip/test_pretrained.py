"""Pretrained image encoders: what `transformers` gives for the same pixels, at any size."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.clip.pretrained import PRETRAINED_IMAGE
from limner.clip.towers import create_image_encoder
from limner.errors import ConfigError, MissingExtraError
from tests.tiny_model import SIZE
from tests.tiny_vision import ENCODERS, SEEN, make_vision_model, save_tiny_vision, vision_in

NAMES = tuple(PRETRAINED_IMAGE)


def prepared(pixels: Tensor) -> Tensor:
    """Return pixels (B, H, W, 3) uint8 as an image processor of `transformers` hands them on."""
    mean, std = (torch.tensor(SEEN[key]) for key in ("mean", "std"))
    return ((pixels.double() / 255 - mean) / std).movedim(-1, 1).float()


def as_limner_has(pixels: Tensor) -> Tensor:
    return pixels.movedim(-1, 1).float() / 127.5 - 1


def pixels_of(size: int) -> Tensor:
    shape = (3, size, size, 3)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).byte()


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_transformers(name: str, size: int, tmp_path: Path) -> None:
    encoder = vision_in(save_tiny_vision(tmp_path, name), size=size)
    options = {} if name == "pretrained_resnet" else {"interpolate_pos_encoding": True}
    pixels = pixels_of(size)
    with torch.no_grad():
        found = make_vision_model(name)(prepared(pixels), **options, output_hidden_states=True)
        features, maps = encoder(as_limner_has(pixels)), encoder.maps(as_limner_has(pixels))
    wanted = found.last_hidden_state[:, 0] if name == "pretrained_vit" else found.pooler_output
    assert features.shape == (3, encoder.width)
    torch.testing.assert_close(features, wanted.flatten(1), atol=1e-5, rtol=1e-4)
    states = found.hidden_states
    for shown, state in zip(maps, (states[len(states) // 2], states[-1]), strict=True):
        grid = state if state.ndim == 4 else state[:, 1:].mT.unflatten(2, (size // 4, size // 4))
        torch.testing.assert_close(shown, grid, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_only_a_trainable_encoder_learns(name: str, trainable: bool) -> None:
    encoder = create_image_encoder(ENCODERS[name] | {"trainable": trainable}).train()
    assert encoder.training and encoder.body.training == trainable
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    images = torch.randn(2, 3, SIZE, SIZE, requires_grad=True)
    encoder(images).square().sum().backward()
    assert images.grad is not None and bool(images.grad.abs().sum() > 0)
    learnt = [each for each in encoder.parameters() if each.grad is not None]
    assert len(learnt) == (len(list(encoder.parameters())) if trainable else 0)
    moved = [k for k, v in encoder.state_dict().items() if not torch.equal(v, before[k])]
    assert bool(moved) == (trainable and name == "pretrained_resnet")  # running means


def test_how_pictures_are_prepared_is_no_weight() -> None:
    encoder = create_image_encoder(ENCODERS["pretrained_vit"])
    assert all(key.startswith("body.") for key in encoder.state_dict())


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("vit", {"size": 0}, "size is 0; expected at least 1"),
        ("vit", {"size": 18}, "size is 18; expected a multiple of the encoder's patch, 4"),
        ("vit", {"mean": [0.5, 0.5]}, "mean is .*; expected a list of 3 float"),
        ("vit", {"mean": [0.5, 0.5, 2.0]}, "mean is .*; expected numbers from 0 to 1"),
        ("vit", {"std": [0.5, 0.5, 0.0]}, "std is .*; expected numbers above 0"),
        ("vit", {"std": [0.5, 0.5, float("inf")]}, "std is .*; expected numbers above 0"),
        ("vit", {"siez": 16}, "no setting 'siez'; did you mean 'size'"),
        ("vit", {"sizes": {"hiden_size": 4}}, "unknown key 'hiden_size'; did you mean 'hidden_s"),
        ("clip", {"sizes": {"auto_map": {}}}, "unknown key 'auto_map'"),
        ("clip", {"sizes": {"num_hidden_layers": 999}}, "is 999; expected at most 256"),
        ("clip", {"sizes": {"num_attention_heads": 7}}, "sizes describe no CLIPVisionModel"),
        ("resnet", {"sizes": {"depths": [1, 0]}}, r"sizes.depths is \[1, 0\]; expected whole numb"),
        ("resnet", {"sizes": {"depths": []}}, r"sizes.depths is \[\]; expected whole numbers"),
        ("resnet", {"sizes": {"depths": [200, 100]}}, r"depths is \[200, 100\]; expected at most"),
        ("resnet", {"sizes": {"depths": 3}}, r"sizes.depths is 3, an int; expected a list"),
        ("resnet", {"sizes": {"layer_type": "none"}}, "sizes describe no ResNetModel"),
        ("resnet", {"sizes": {"hidden_sizes": [8], "depths": [1, 1]}}, "1 hidden_sizes and 2 dep"),
    ],
)
def test_mistakes_are_told(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        create_image_encoder(ENCODERS[f"pretrained_{name}"] | changes)
    assert "\n" not in str(caught.value)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"encoders need .*pip install 'limner\[train\]'"):
        create_image_encoder(ENCODERS["pretrained_vit"])


def test_every_encoder_says_what_it_is() -> None:
    for encoder in PRETRAINED_IMAGE.values():
        assert encoder.__doc__ and "\n" not in encoder.__doc__
