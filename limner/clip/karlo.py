"""CLIP as Karlo's unCLIP uses it: vectors with their lengths, and the states of the text's tokens.

Karlo's prior and decoder have no text encoder: they read what CLIP's tower made of each token. The
image tower is of use for variations alone, and may be missing. Published weights have all of it
(Lee 2022, github.com/kakaobrain/karlo). Shapes: B pictures or texts, T token positions (left-padded
with id 0), W width, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from limner.clip.towers import check_image_encoder, create_image_encoder
from limner.errors import ConfigError, UsageError
from limner.nn.checks import check_least
from limner.text.encoders import check_text_encoder, text_encoder_of

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class KarloClipConfig:
    """The towers, by name and settings; `image_encoder` {} is none. `empty` is the empty text."""

    text_vocabulary: int
    text_encoder: dict[str, Any]
    empty: tuple[int, ...]
    width: int = 768
    dimensions: int = 768
    image_encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "width", "dimensions")
        check_text_encoder(self)
        if self.image_encoder:
            check_image_encoder(self.image_encoder)
        if not all(0 < each < self.text_vocabulary for each in self.empty) or not self.empty:
            raise ConfigError(f"empty is {list(self.empty)}; expected ids of the tokenizer")


class Told(NamedTuple):
    """What texts say: states (B, T, W) of tokens, which are real (B, T), and vectors (B, D)."""

    states: Tensor
    real: Tensor
    vectors: Tensor


class KarloClip(nn.Module):
    """Towers of CLIP whose vectors keep their lengths, beside the states of a text's tokens."""

    unit: ClassVar[bool] = False
    empty: Tensor

    def __init__(self, config: KarloClipConfig) -> None:
        super().__init__()
        self.config = config
        self.text = text_encoder_of(config)
        self.text_projection = nn.Linear(config.width, config.dimensions, bias=False)
        self.register_buffer("empty", torch.tensor(config.empty), persistent=False)
        self.image: Any = None
        self.size = 0
        if config.image_encoder:
            self.image = create_image_encoder(config.image_encoder)
            self.image_projection = nn.Linear(self.image.width, config.dimensions, bias=False)
            self.size = self.image.size

    def prepare(self, picture: Image) -> Image:
        """Return a picture as the image tower sees it; UsageError where there is none."""
        if self.image is None:
            raise UsageError(
                "a picture is given, but this model has no image tower to see it; import it with "
                "the folders image_encoder and feature_extractor of its image variations beside "
                "the others",
                param="image",
            )
        prepared: Image = self.image.prepare(picture)
        return prepared

    def encode_images(self, images: Tensor) -> Tensor:
        """Map images (B, 3, size, size) in [-1, 1] to vectors (B, D) in fp32."""
        vectors: Tensor = self.image_projection(self.image(images))
        return vectors.float()

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to vectors (B, D) in fp32."""
        return self.read(ids).vectors

    def read(self, ids: Tensor) -> Told:
        """Return what ids (B, T) say; a row of padding alone is the empty text."""
        count = len(self.empty)
        ids = nn.functional.pad(ids, (max(0, count - ids.shape[1]), 0))
        blank = nn.functional.pad(self.empty, (ids.shape[1] - count, 0))
        ids = torch.where((ids != 0).any(1, keepdim=True), ids, blank)
        states = self.text(ids)
        return Told(states, ids != 0, self.text_projection(states[:, -1]).float())
