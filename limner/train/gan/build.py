"""What a GAN's run begins with, and the generator and discriminator that are made of it.

It may begin with a CLIP, a codec whose latent is drawn, and a model that knows words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from limner import registry
from limner.clip.model import OWN_TEXT
from limner.errors import ConfigError
from limner.gan import create_discriminator, create_generator
from limner.gan.condition import SentenceEncoder
from limner.nn.things import ThingsDecoder
from limner.text.tokenizer import Tokenizer
from limner.train.config.run import TrainConfig
from limner.train.gan.settings import GanTraining, latent_of
from limner.train.inputs.caches import digest_of, tokenizer_digest
from limner.train.inputs.text import text_side_of
from limner.train.parts import inspect_family, load_autoencoder

DEFAULT_SIZE = 64  # of pictures where nothing says it, as a generator's own default


@dataclass(frozen=True)
class Opened:
    """Frozen models, None where a run has none: `told` is one of the family 'dalle'.

    `clip` is a model of both towers, `clip_tokenizer` what its text tower reads.
    `codec` is that of `codec_from`, `codec_table` its config, and `things` the decoder that reads
    things in its latents where that is asked for.
    """

    clip: Any = None
    clip_tokenizer: Tokenizer | None = None
    told: Any = None
    codec: Any = None
    codec_table: dict[str, Any] | None = None
    things: ThingsDecoder | None = None

    @property
    def digests(self) -> dict[str, str]:
        """Hashes of what must be the same to resume."""
        parts: dict[str, nn.Module | None] = {
            "clip": self.clip,
            "codec": self.codec,
            "start": None if self.told is None else self.told.prior,
        }
        return {name: digest_of(part) for name, part in parts.items() if part is not None}

    def size(self, config: TrainConfig) -> int:
        """Return the side in pixels of the pictures that are learnt from."""
        if self.codec is not None:
            return int(self.codec.config.size)
        return int(config.part("generator").get("size", DEFAULT_SIZE))


def open_models(config: TrainConfig, device: torch.device) -> Opened:
    """Open what a config names; ConfigError for other families, or texts read in two ways."""
    clip = told = codec = table = things = None
    if config.clip_from:
        inspect_family(config.clip_from, "clip", "clip_from")
        clip = registry.load(config.clip_from)
    if config.codec_from:
        codec, table = load_autoencoder(config.codec_from)
        codec.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)
        if config.settings(GanTraining).naming:
            things = registry.load(config.codec_from).codec.decoder
            things.to(device, memory_format=torch.channels_last)
    if config.start_from:
        inspect_family(config.start_from, "dalle", "start_from")
        told = registry.load(config.start_from)
    read = {tokenizer_digest(each.tokenizer) for each in (clip, told) if each is not None}
    if len(read) > 1:
        raise ConfigError(
            "clip_from and start_from have different tokenizers, and a text is read once; give two "
            "that were trained with the same",
            param="clip_from",
        )
    if clip is None:
        return Opened(None, None, told, codec, table, things)
    return Opened(clip.clip.to(device), clip.tokenizer, told, codec, table, things)


class Built(NamedTuple):
    """What a run trains, the tokenizer of its texts, and the table of the generator."""

    tokenizer: Tokenizer
    generator: Any
    discriminator: Any
    table: dict[str, Any]


def build(config: TrainConfig, opened: Opened, tokenizer: Callable[[], Tokenizer]) -> Built:
    """Make generator and discriminator; `tokenizer` gives that of the captions where none reads."""
    table, critic = dict(config.part("generator")), dict(config.part("discriminator"))
    table |= latent_of(config)
    text = _text_of(config, opened, tokenizer, table)
    if opened.clip is not None and critic["name"] == "clip":
        critic["map_channels"] = list(opened.clip.image.map_channels)
    table |= text.table | {"text_vocabulary": text.tokenizer.vocabulary}
    generator: Any = create_generator(table)
    shared = ("text_vocabulary", "text_encoder", "size", "channels_drawn", "width")
    critic |= {name: getattr(generator.config, name) for name in shared}
    discriminator: Any = create_discriminator(critic)
    for part in (generator, discriminator):
        text.begin(part.sentence)
    if opened.told is not None:
        generator.begin_as(opened.told.prior)
    return Built(text.tokenizer, generator, discriminator, table)


class _Text(NamedTuple):
    """A tokenizer, what a generator's table says of the text, and how an encoder of it begins."""

    tokenizer: Tokenizer
    table: dict[str, Any]
    begin: Callable[[SentenceEncoder], None]


def _text_of(
    config: TrainConfig, opened: Opened, tokenizer: Callable[[], Tokenizer], table: dict[str, Any]
) -> _Text:
    """Return how text is read: as a model that is `told` reads it, as CLIP does, or anew."""
    if opened.told is not None:
        prior = opened.told.prior
        # Where it is an embedding alone, the transformer reads on.
        said = {"text_encoder": prior.config.text_encoder or {"name": "own", "layers": 0}}

        def give_words(sentence: SentenceEncoder) -> None:
            sentence.text.load_state_dict(prior.text.state_dict())

        return _Text(opened.told.tokenizer, said, give_words)
    if opened.clip is None:
        side = text_side_of(config, tokenizer, table)
        said = {"text_encoder": side.encoder} if side.encoder else {}
        return _Text(side.tokenizer, said, side.give_weights)
    clip = opened.clip
    text_encoder = {"name": "own", **OWN_TEXT, **clip.config.text_encoder}

    def give_and_freeze(sentence: SentenceEncoder) -> None:
        sentence.text.load_state_dict(clip.text.state_dict())
        sentence.requires_grad_(False)  # CLIP reads; only what follows it learns

    assert opened.clip_tokenizer is not None, "a CLIP was opened with its tokenizer"
    said = {"width": clip.config.width, "text_encoder": text_encoder}
    return _Text(opened.clip_tokenizer, said, give_and_freeze)
