"""The image tower gives what transformers' CLIPModel gives with the same weights."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.clip.model import Clip, ClipConfig
from limner.clip.vit import ViTConfig
from limner.errors import ConfigError
from limner.nn.pre_norm import ACTIVATIONS
from tests.tiny_encoders import make_model

KEYS = {
    "patches.weight": "embeddings.patch_embedding.weight",
    "token": "embeddings.class_embedding",
    "places": "embeddings.position_embedding.weight",
    "norm_before": "pre_layrnorm",
    "norm": "post_layernorm",
}
BLOCK = {
    "attention_norm": "layer_norm1",
    "out": "self_attn.out_proj",
    "feed_forward_norm": "layer_norm2",
    "into": "mlp.fc1",
    "back": "mlp.fc2",
}


def copied(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of transformers' vision tower under our names."""
    found = {}
    for name in ours:
        part, _, rest = name.partition(".")
        if name in KEYS:
            found[name] = theirs[KEYS[name]]
        elif part in KEYS:
            found[name] = theirs[f"{KEYS[part]}.{rest}"]
        else:
            layer, module, kind = rest.split(".")
            place = f"encoder.layers.{layer}."
            if module == "qkv":
                parts = [theirs[f"{place}self_attn.{each}_proj.{kind}"] for each in "qkv"]
                found[name] = torch.cat(parts)
            else:
                found[name] = theirs[f"{place}{BLOCK[module]}.{kind}"]
    return found


@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_the_tower_is_that_of_transformers(activation: str) -> None:
    reference = make_model("clip", 20, "CLIPModel")
    vision: Any = reference.vision_model
    if activation == "gelu":
        for layer in vision.encoder.layers:
            layer.mlp.activation_fn = torch.nn.GELU()
    if activation == "gelu_tanh":
        for layer in vision.encoder.layers:
            layer.mlp.activation_fn = torch.nn.GELU(approximate="tanh")
    settings = {"name": "vit", "size": 8, "patch": 4, "width": 16, "layers": 2, "heads": 2}
    settings |= {"hidden": 24, "activation": activation}
    clip = Clip(ClipConfig(20, settings, width=16, dimensions=8))
    clip.image.load_state_dict(copied(vision.state_dict(), clip.image.state_dict()))
    clip.image_projection.weight.copy_(reference.visual_projection.weight)
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    pooled = vision(pixel_values=images).pooler_output
    expected = F.normalize(reference.visual_projection(pooled), dim=-1)
    torch.testing.assert_close(clip.encode_images(images), expected)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 30}, "size is 30; expected a multiple of patch, 8"),
        ({"width": 30}, "width is 30; expected a multiple of 4 heads"),
        ({"layers": 0}, "layers is 0; expected at least 1"),
        ({"layers": 10_000}, "layers is 10000; expected at most 256"),
        ({"activation": "gleu"}, "activation is 'gleu'; expected .*; did you mean 'gelu'"),
    ],
)
def test_sizes_that_make_no_tower_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ViTConfig(**values)
