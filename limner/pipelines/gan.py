"""A text-conditional GAN: a sentence and noise become a picture in one pass of one network.

Reed 2016, arXiv 1605.05396; the sentence becomes a condition as in StackGAN, arXiv 1612.03242. With
an autoencoder the network draws that one's latent. Shapes: B pictures, T text tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from limner.codecs import create_autoencoder
from limner.errors import CheckpointError
from limner.gan import create_generator
from limner.gan.drawing import GanSampling, draw
from limner.pipelines.base import NO_TILES, NO_TOKENS, DrawingBase
from limner.pipelines.config import ModelConfig
from limner.pipelines.latent import latent_shape, levels_of
from limner.pipelines.things import told_by
from limner.text.tokenizer import Tokenizer
from limner.types import Step

_ONLY_TEXT = (
    "a GAN draws whole pictures from a text and a seed and cannot fill in or alter one; leave it "
    "out, or change the picture with a model of the family 'dalle' or 'unclip'"
)


class Gan(DrawingBase[GanSampling]):
    """The pipeline, built from its parts; it knows no file.

    With an `autoencoder` the generator draws the latent of that codec, else pixels. Each picture is
    drawn alone, so that its pixels do not depend on the pictures beside it.
    """

    family = "gan"
    codec = None  # it draws pixels, not codes
    refuses: ClassVar = {
        "logits_processors": NO_TOKENS,
        "mask": _ONLY_TEXT,
        "image": _ONLY_TEXT,
        "tile": NO_TILES,
    }
    draws_how = "a GAN draws at once and takes a temperature alone"

    def __init__(
        self,
        tokenizer: Tokenizer,
        generator: Any,
        autoencoder: Any = None,
        *,
        defaults: GanSampling | None = None,
        text_length: int = 32,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.generator, self.autoencoder = generator, autoencoder
        self.defaults = defaults or GanSampling()
        self.size: int = (autoencoder or generator).config.size
        self.text_length = text_length

    @classmethod
    def from_config(cls, config: ModelConfig, tokenizer: Tokenizer) -> Self:
        """Text and noise to pixels at once, learnt against a discriminator (arXiv 1605.05396)."""
        generator = create_generator(config.tables["generator"])
        config.check_vocabulary(tokenizer, generator.config.text_vocabulary, "generator")
        table, autoencoder = config.tables["autoencoder"], None
        if table:
            autoencoder = create_autoencoder(table)
        _check_drawn(config.name, generator, autoencoder)
        defaults, length = config.read_sampling(GanSampling), config.text_length
        pipeline = cls(tokenizer, generator, autoencoder, defaults=defaults, text_length=length)
        config.check_size(pipeline.size)
        return pipeline

    @property
    def reads_by(self) -> Any:
        """The codec whose latent is drawn, if any."""
        return self.autoencoder

    @property
    def text_vocabulary(self) -> int:
        """How many ids the generator was made for."""
        return int(self.generator.config.text_vocabulary)

    def latents(self, images: Tensor) -> Tensor:
        """Return what the generator would draw of images (B, 3, size, size) in [-1, 1]."""
        if self.autoencoder is None:
            return images
        vectors: Tensor = self.autoencoder.embed(self.autoencoder.encode(images))
        return vectors

    def pixels(self, drawn: Tensor, told: Sequence[Any] = ()) -> Tensor:
        """Return images (B, 3, size, size) in [-1, 1] of what the generator drew.

        `told` is what words say of each, as of `Codec.decode_each`.
        """
        if self.autoencoder is None:
            return drawn.clamp(-1, 1)
        codes = self.autoencoder.nearest(drawn)
        auto: Any = self.autoencoder
        images: Tensor = auto.decode_each(codes, told) if told else auto.decode(codes)
        return images

    def _stream(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: GanSampling, begin: Any = None
    ) -> Iterator[Step]:
        """Draw one picture a Step; the last Step has all of them."""
        drawn, total = list[Tensor](), len(prompts)
        for prompt, seed in zip(prompts, seeds, strict=True):
            # One at a time: in a batch the products differ in their last bits.
            ids = self.read([prompt], trim=True)
            made = draw(self.generator, ids, [seed], sampling)
            drawn.append(self.pixels(made, told_by(self, [prompt])))
            last = len(drawn) == total
            yield Step(len(drawn), total, images=torch.cat(drawn) if last else drawn[-1])


def _check_drawn(name: str, generator: Any, autoencoder: Any) -> None:
    """Raise CheckpointError unless a generator draws pixels, or the latent of its autoencoder."""
    wanted: dict[str, Any] = {"channels": 3}
    if autoencoder is not None:
        wanted = latent_shape(autoencoder)
    made = generator.config
    draws = {"channels": made.channels_drawn, "size": made.size, "bounded": made.bounded}
    levels = tuple(getattr(made, "levels", ()))
    fits = not levels or levels == levels_of(autoencoder)
    if not fits or any(draws[key] != value for key, value in wanted.items()):
        raise CheckpointError(
            f"the generator of {name!r} draws {made.channels_drawn} channels {made.size} wide, "
            "not those of its autoencoder, or of pictures; they belong to different models"
        )
