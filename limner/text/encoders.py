"""Text encoders: token ids to feature vectors. `TEXT_ENCODERS` names every one.

Shapes: B texts, T token positions (left-padded with id 0), D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn.transformer import Transformer, TransformerConfig
from limner.parts import create


@dataclass(frozen=True)
class OwnEncoderConfig:
    """Sizes of our own encoder; `layers` 0 is an embedding alone, for a prior that reads text."""

    vocabulary: int
    width: int = 256
    layers: int = 0
    heads: int = 4
    hidden: int = 704

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "heads", "hidden"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.layers < 0:
            raise ConfigError(f"layers is {self.layers}; expected at least 0")


class OwnEncoder(nn.Embedding):
    """Token embeddings and, with layers, a bidirectional transformer over them."""

    def __init__(self, config: OwnEncoderConfig) -> None:
        super().__init__(config.vocabulary, config.width)
        self.config = config
        self.width = config.width
        self.transformer: Transformer | None = None
        if config.layers:
            self.transformer = Transformer(
                TransformerConfig(config.width, config.layers, config.heads, config.hidden)
            )

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to features (B, T, D); those of padding mean nothing."""
        features = super().forward(ids)
        if self.transformer is None:
            return features
        before = torch.arange(ids.shape[1], device=ids.device) - ids.shape[1]
        coordinates = before[None, :, None].expand(1, -1, 2)
        real = ids != 0
        alone = torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
        mixed: Tensor = self.transformer(features, coordinates, (real[:, None] | alone)[:, None])
        return mixed


TEXT_ENCODERS: dict[str, tuple[type[Any], type[Any]]] = {"own": (OwnEncoderConfig, OwnEncoder)}


def create_text_encoder(config: Mapping[str, Any]) -> Any:
    """Build the encoder named by `config["name"]`; ConfigError for an unknown name or key."""
    return create("text encoder", TEXT_ENCODERS, config)
