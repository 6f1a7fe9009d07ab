"""A text-conditional GAN: a sentence and noise become a picture in one pass of one network.

Reed 2016, arXiv 1605.05396; the sentence becomes a condition as in StackGAN, arXiv 1612.03242.
Shapes: B pictures, T text tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from limner.gan import create_generator
from limner.gan.drawing import GanSampling, draw_pictures
from limner.pipelines.base import NO_TILES, NO_TOKENS, DrawingBase
from limner.pipelines.config import ModelConfig
from limner.text.tokenizer import Tokenizer
from limner.types import Step

_ONLY_TEXT = (
    "a GAN draws whole pictures from a text and a seed and cannot fill in or alter one; leave it "
    "out, or change the picture with a model of the family 'dalle' or 'unclip'"
)


class Gan(DrawingBase[GanSampling]):
    """The pipeline, built from its parts; it knows no file.

    Each picture is drawn alone, so that its pixels do not depend on the pictures beside it.
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
        *,
        defaults: GanSampling | None = None,
        text_length: int = 32,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.generator = generator
        self.defaults = defaults or GanSampling()
        self.size = generator.config.size
        self.text_length = text_length

    @classmethod
    def from_config(cls, config: ModelConfig, tokenizer: Tokenizer) -> Self:
        """Text and noise to pixels at once, learnt against a discriminator (arXiv 1605.05396)."""
        generator = create_generator(config.tables["generator"])
        config.check_vocabulary(tokenizer, generator.config.text_vocabulary, "generator")
        config.check_size(generator.config.size)
        defaults = config.read_sampling(GanSampling)
        return cls(tokenizer, generator, defaults=defaults, text_length=config.text_length)

    @property
    def text_vocabulary(self) -> int:
        """How many ids the generator was made for."""
        return int(self.generator.config.text_vocabulary)

    def _stream(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: GanSampling, begin: Any = None
    ) -> Iterator[Step]:
        """Draw one picture a Step; the last Step has all of them."""
        drawn, total = list[Tensor](), len(prompts)
        for prompt, seed in zip(prompts, seeds, strict=True):
            # One at a time: in a batch the products differ in their last bits.
            ids = self.read([prompt], trim=True)
            drawn.append(draw_pictures(self.generator, ids, [seed], sampling))
            last = len(drawn) == total
            yield Step(len(drawn), total, images=torch.cat(drawn) if last else drawn[-1])
