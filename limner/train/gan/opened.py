"""What a GAN's run begins with: a CLIP, a codec whose latent is drawn, a model that knows words."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from limner import registry
from limner.errors import ConfigError
from limner.nn.things import ThingsDecoder
from limner.train.config.run import TrainConfig
from limner.train.gan.settings import GanTraining
from limner.train.inputs.caches import digest_of, tokenizer_digest
from limner.train.parts import inspect_family, load_autoencoder

DEFAULT_SIZE = 64  # of pictures where nothing says it, as a generator's own default


@dataclass(frozen=True)
class Opened:
    """Frozen models, None where a run has none: `told` is one of the family 'dalle'.

    `codec` is that of `codec_from`, `codec_table` its config, and `things` the decoder that reads
    things in its latents where that is asked for.
    """

    clip: Any = None
    told: Any = None
    codec: Any = None
    codec_table: dict[str, Any] | None = None
    things: ThingsDecoder | None = None

    @property
    def digests(self) -> dict[str, str]:
        """Hashes of what must be the same to resume."""
        parts: dict[str, nn.Module | None] = {
            "clip": None if self.clip is None else self.clip.clip,
            "codec": self.codec,
            "start": None if self.told is None else self.told.prior,
        }
        return {name: digest_of(part) for name, part in parts.items() if part is not None}

    def size(self, config: TrainConfig) -> int:
        """Return the side in pixels of the pictures that are learnt from."""
        if self.codec is not None:
            return int(self.codec.config.size)
        return int(config.part("generator").get("size", DEFAULT_SIZE))


def open_models(config: TrainConfig) -> Opened:
    """Open what a config names; ConfigError for other families, or texts read in two ways."""
    clip = told = codec = table = things = None
    if config.clip_from:
        inspect_family(config.clip_from, "clip", "clip_from")
        clip = registry.load(config.clip_from)
    if config.codec_from:
        codec, table = load_autoencoder(config.codec_from)
        codec.requires_grad_(False).eval()
        if config.settings(GanTraining).naming:
            things = registry.load(config.codec_from).codec.decoder
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
    return Opened(clip, told, codec, table, things)
