"""The text side of a prior, CLIP or GAN: its tokenizer, encoder, and weights to begin with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from limner import registry
from limner.errors import ConfigError
from limner.text.importing import import_encoder
from limner.text.pretrained import PRETRAINED
from limner.text.tokenizer import Tokenizer
from limner.train.config.run import TrainConfig


@dataclass(frozen=True)
class TextSide:
    """A tokenizer, a model's `text_encoder` and, of a checkpoint just read, its weights."""

    tokenizer: Tokenizer
    encoder: dict[str, Any]
    weights: dict[str, Tensor] = field(default_factory=dict)

    def give_weights(self, model: nn.Module) -> None:
        """Put the weights that were read into a new model's text encoder."""
        if self.weights:
            model.get_submodule("text.body").load_state_dict(self.weights)


def text_side_of(
    config: TrainConfig,
    tokenizer: Callable[[], Tokenizer],
    table: Mapping[str, Any],
    trained: Any = None,
) -> TextSide:
    """Return the text side that a run's config names; that of `trained` when it goes on from it.

    `tokenizer` gives that of the captions, and `table` describes the model, whose encoder it names.
    Raises CheckpointError for an encoder that cannot be read, ConfigError for one that reads fewer
    positions than text_length.
    """
    if trained is not None:
        held = registry.inspect(config.start_from).config.prior.get("text_encoder", {})
        if held.get("name") in PRETRAINED:
            held = {**held, "trainable": config.text.trainable}
        return TextSide(trained.tokenizer, held)
    if config.text.encoder:
        side = _imported(config)
    else:
        side = TextSide(tokenizer(), dict(table.get("text_encoder", {})))
    if config.text.keywords:
        side = replace(side, tokenizer=side.tokenizer.with_keywords())
    return side


def _imported(config: TrainConfig) -> TextSide:
    encoder, weights, tokenizer = import_encoder(config.text.encoder)
    positions = PRETRAINED[encoder["name"]].architecture.positions
    limit = encoder["sizes"].get(positions, config.text_length)
    if config.text_length > limit:
        raise ConfigError(
            f"text_length is {config.text_length}; the encoder in {config.text.encoder} reads at "
            f"most {limit} tokens"
        )
    return TextSide(tokenizer, encoder | {"trainable": config.text.trainable}, weights)


def cut(ids: Tensor) -> Tensor:
    """Return ids (B, T) without the columns, on their left, in which no text has any."""
    return ids[:, -max(1, int((ids != 0).sum(1).max())) :]
