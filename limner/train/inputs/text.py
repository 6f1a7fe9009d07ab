"""The text side of a prior, CLIP or GAN: its tokenizer, encoder, and weights to begin with."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from limner import registry
from limner.data.scenes.graph import is_wide
from limner.data.scenes.words import phrase_texts, scene_words
from limner.errors import ConfigError
from limner.text.importing import import_encoder
from limner.text.pretrained import PRETRAINED
from limner.text.tokenizer import Tokenizer
from limner.text.words import Words, count_words
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import Caches
from limner.train.inputs.own import OwnData


class SceneText:
    """Captions of emoji scenes; `made_of` holds hashes of what must be the same to resume."""

    def __init__(self, config: TrainConfig, caches: Caches, kept: int = 0) -> None:
        self.config, self.caches, self.kept = config, caches, kept
        self.made_of: dict[str, str] = {}

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of the run's folder, trained on scenes where it has none."""
        return self.extended(self.caches.tokenizer())

    def extended(self, tokenizer: Tokenizer) -> Tokenizer:
        """Return a model's tokenizer, with the words of the wide world where that is drawn."""
        if not is_wide(self.config.data.level):
            return tokenizer
        return tokenizer.extended(phrase_texts(wide=True))

    def words(self) -> Words:
        """Return the table of words of the scenes that a run sees."""
        return words_of_scenes(self.config, self.kept)


class OwnText:
    """Captions of pictures of one's own, as `captions` gives them."""

    caches: Caches
    data: OwnData

    def captions(self) -> Iterable[str]:
        """Return every caption that is trained on."""
        raise NotImplementedError

    def extended(self, tokenizer: Tokenizer) -> Tokenizer:
        """Return a model's tokenizer: it spells any caption."""
        return tokenizer

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of the run's folder, trained on its captions."""
        return self.caches.tokenizer(self.captions(), {"data": self.data.fingerprint})

    def words(self) -> Words:
        """Return the table of words of the captions that are trained on."""
        return count_words(self.captions())


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
            held = {**held, "trainable": config.text.trainable}  # the run's word, not the model's
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
    limit = encoder["sizes"].get(positions, config.text_length)  # rotary ones have none
    if config.text_length > limit:
        raise ConfigError(
            f"text_length is {config.text_length}; the encoder in {config.text.encoder} reads at "
            f"most {limit} tokens"
        )
    return TextSide(tokenizer, encoder | {"trainable": config.text.trainable}, weights)


def words_of_scenes(config: TrainConfig, count: int = 0) -> Words:
    """Return the table of words of `count` scenes of a run, by default of all that it draws."""
    data, loop = config.data, config.loop
    return scene_words(data.level, count=count or loop.steps * loop.batch, seed=data.seed)


def trimmed(text: Tensor) -> Tensor:
    """Return texts (B, T) without the columns that pad them all; of empty ones the last stays."""
    longest = int((text != 0).sum(1).max())
    return text[:, text.shape[1] - max(longest, 1) :]
