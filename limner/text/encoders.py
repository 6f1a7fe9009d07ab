"""Text encoders: token ids to feature vectors. `TEXT_ENCODERS` names every one.

Shapes: B texts, T token positions (left-padded with id 0), D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn.checks import check_heads, check_least
from limner.nn.transformer import Transformer, TransformerConfig
from limner.parts import create, parse_config
from limner.text.learned_positions import LearnedPositions, LearnedPositionsConfig
from limner.text.pretrained import PRETRAINED, PretrainedConfig


@dataclass(frozen=True)
class OwnEncoderConfig:
    """Sizes of our own encoder; `layers` 0 is an embedding alone, for a prior that reads text."""

    vocabulary: int
    width: int = 256
    layers: int = 0
    heads: int = 4
    hidden: int = 704

    def __post_init__(self) -> None:
        check_least(self, "vocabulary", "width", "heads", "hidden")
        check_least(self, "layers", least=0)


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
        # Positions count from the end: padding is on the left, and its length must not matter.
        before = torch.arange(ids.shape[1], device=ids.device) - ids.shape[1]
        coordinates = before[None, :, None].expand(1, -1, 2)
        real = ids != 0
        # Padding sees itself: a row that sees nothing would be NaN.
        alone = torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
        mixed: Tensor = self.transformer(features, coordinates, (real[:, None] | alone)[:, None])
        return mixed


TEXT_ENCODERS: dict[str, tuple[type[Any], type[Any]]] = {
    "own": (OwnEncoderConfig, OwnEncoder),
    "learned_positions": (LearnedPositionsConfig, LearnedPositions),
    **{name: (PretrainedConfig, encoder) for name, encoder in PRETRAINED.items()},
}
FROM_THE_PRIOR = ("vocabulary", "width")


class Conditioned(Protocol):
    """The fields of a prior's config that decide its text encoder; `text_encoder` {} is ours."""

    @property
    def text_vocabulary(self) -> int:
        """How many ids the tokenizer has."""
        ...

    @property
    def width(self) -> int:
        """Width of the prior and of the features it gets."""
        ...

    @property
    def text_encoder(self) -> dict[str, Any]:
        """`name` of the encoder and its settings but for vocabulary and width."""
        ...


def create_text_encoder(config: Mapping[str, Any]) -> Any:
    """Build the encoder named by `config["name"]`; ConfigError for an unknown name or key."""
    return create("text encoder", TEXT_ENCODERS, config)


def text_encoder_of(prior: Conditioned, own: Mapping[str, Any] | None = None) -> Any:
    """Build the encoder that a prior's config describes, of the prior's own vocabulary and width.

    `own` are settings of our own encoder where `text_encoder` is {}. Raises ConfigError as
    `create_text_encoder`, MissingExtraError without `transformers`.
    """
    return create_text_encoder(_text_config(prior, own or {}))


def check_text_encoder(prior: Conditioned, own: Mapping[str, Any] | None = None) -> None:
    """Raise ConfigError for a `text_encoder` that cannot be built, without building it.

    `own` are settings of our own encoder where `text_encoder` is {}: its heads must fit the width.
    """
    found = parse_config("text encoder", TEXT_ENCODERS, _text_config(prior, own or {}))
    if own and isinstance(found, OwnEncoderConfig):
        check_heads(prior.width, found.heads)


def mean_of_tokens(features: Tensor, ids: Tensor) -> Tensor:
    """Return the mean (B, D) of the features (B, T, D) of texts' tokens, ids (B, T)."""
    real = ids != 0
    real[:, -1] |= ~real.any(1)  # a text without a token still has a direction
    weights = real.to(features.dtype) / real.sum(1, keepdim=True)
    return (features * weights[..., None]).sum(1)


def _text_config(prior: Conditioned, own: Mapping[str, Any]) -> dict[str, Any]:
    for key in FROM_THE_PRIOR:
        if key in prior.text_encoder:
            raise ConfigError(f"text_encoder.{key} is the prior's own; leave it out")
    decided = {"vocabulary": prior.text_vocabulary, "width": prior.width}
    return {"name": "own", **(prior.text_encoder or own), **decided}
