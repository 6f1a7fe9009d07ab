"""CLIP: an image tower and a text tower into one space (Radford 2021, arXiv 2103.00020).

Shapes: B pictures or texts, T token positions (left-padded with id 0), D dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.clip.karlo import KarloClip, KarloClipConfig
from limner.clip.losses import LOSSES, SCALE_LIMIT
from limner.clip.preparing import Preparation
from limner.clip.towers import check_image_encoder, create_image_encoder
from limner.errors import ConfigError
from limner.nn.checks import check_choice, check_least
from limner.parts import create
from limner.text.encoders import check_text_encoder, mean_of_tokens, text_encoder_of

POOLINGS = ("mean", "last")
OWN_TEXT = {"layers": 4, "heads": 4, "hidden": 512}  # of our own text encoder where none is named


@dataclass(frozen=True)
class ClipConfig:
    """The two towers, by name and settings, the text's `width`, and the `dimensions` they share.

    `pooling` makes one vector of a text's tokens: their "mean", or the "last" as OpenAI's CLIP.
    `loss` is "contrastive" or "sigmoid" (SigLIP), which begins cooler and has a bias. Without
    `project` the towers' own vectors are compared, both of them as wide as `dimensions`.
    """

    text_vocabulary: int
    image_encoder: dict[str, Any] = field(default_factory=lambda: {"name": "vit"})
    text_encoder: dict[str, Any] = field(default_factory=dict)
    width: int = 192
    dimensions: int = 256
    pooling: str = "mean"
    loss: str = "contrastive"
    project: bool = True

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "width", "dimensions")
        check_choice(self, "pooling", POOLINGS)
        check_choice(self, "loss", LOSSES)
        check_image_encoder(self.image_encoder)
        check_text_encoder(self, OWN_TEXT)


class Clip(nn.Module):
    """Two towers whose unit vectors are near where a picture and a text belong together."""

    unit: ClassVar[bool] = True  # whether its vectors are

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.image = create_image_encoder(config.image_encoder)
        self.text = text_encoder_of(config, OWN_TEXT)
        self.size: int = self.image.size
        self.prepare: Preparation = self.image.prepare
        self.image_projection: Any = _projection(self.image.width, config)
        self.text_projection: Any = _projection(self.text.width, config)
        for projection in (self.image_projection, self.text_projection):
            if isinstance(projection, nn.Linear):
                nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        sigmoid = config.loss == "sigmoid"  # it begins cooler, and has a bias
        self.log_scale = nn.Parameter(torch.tensor(log(10) if sigmoid else log(1 / 0.07)))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if sigmoid else None

    def encode_images(self, images: Tensor) -> Tensor:
        """Map images (B, 3, size, size) in [-1, 1] to unit vectors (B, D) in fp32."""
        return F.normalize(self.image_projection(self.image(images)).float(), dim=-1)

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to unit vectors (B, D) in fp32."""
        features = self.text(ids)  # (B, T, W)
        last = self.config.pooling == "last"
        pooled = features[:, -1] if last else mean_of_tokens(features, ids)
        return F.normalize(self.text_projection(pooled).float(), dim=-1)

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by before softmax or sigmoid: 1 / temperature."""
        return self.log_scale.exp()

    def loss(self, images: Tensor, texts: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Return the loss of unit vectors (B, D) of pairs, and (N, D) of texts that fit nothing."""
        return LOSSES[self.config.loss](images, texts, self.scale, self.bias, negatives)

    @torch.no_grad()
    def limit_scale(self) -> None:
        """Bring the log scale back under its limit, as after every update of training."""
        self.log_scale.clamp_(max=SCALE_LIMIT)


def _projection(width: int, config: ClipConfig) -> nn.Module:
    """Return what maps vectors of a tower into the space of both."""
    if config.project:
        return nn.Linear(width, config.dimensions, bias=False)
    if width != config.dimensions:
        raise ConfigError(
            f"dimensions is {config.dimensions} for vectors of width {width}; expected the same "
            "without project"
        )
    return nn.Identity()


def create_clip(config: Mapping[str, Any]) -> Clip:
    """Build a CLIP from the fields of ClipConfig; ConfigError for an unknown or wrong one."""
    return create("clip", CLIPS | IMPORTED, {"name": "clip", **config})


CLIPS: dict[str, tuple[type[Any], type[Any]]] = {"clip": (ClipConfig, Clip)}
IMPORTED: dict[str, tuple[type[Any], type[Any]]] = {"karlo": (KarloClipConfig, KarloClip)}
