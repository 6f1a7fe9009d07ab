"""Image encoders: pictures to one feature vector each. `IMAGE_ENCODERS` names every one.

An encoder has a `size` (pixels a side), a `width` (of its features), and maps images
(B, 3, size, size) in [-1, 1] to features (B, width); `maps` gives two maps (B, C, h, w) on the way,
of `map_channels`.
"""

from collections.abc import Mapping
from typing import Any

from limner.clip.pretrained import PRETRAINED_IMAGE, PretrainedImageConfig
from limner.clip.resnet import ResNet, ResNetConfig
from limner.clip.vit import ViT, ViTConfig
from limner.parts import create, parse_config

IMAGE_ENCODERS: dict[str, tuple[type[Any], type[Any]]] = {
    "vit": (ViTConfig, ViT),
    "resnet": (ResNetConfig, ResNet),
    **{name: (PretrainedImageConfig, encoder) for name, encoder in PRETRAINED_IMAGE.items()},
}


def create_image_encoder(config: Mapping[str, Any]) -> Any:
    """Build the encoder named by `config["name"]`; ConfigError for an unknown name or key."""
    return create("image encoder", IMAGE_ENCODERS, config)


def check_image_encoder(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for an encoder that cannot be built, without building it."""
    parse_config("image encoder", IMAGE_ENCODERS, config)
